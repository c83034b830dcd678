// Web actions: who may call, what the action is given, what is answered. WebActionsApiTests.
'use strict';

const { assert, annotation, cases, expect, put, send, NAMESPACE, AUTH } = require('../../kit/whisk.cjs');

const WEB = `/api/v1/web/${NAMESPACE}`;
const annotations = (more = {}) => Object.entries({ 'web-export': true, ...more }).map(([key, value]) => ({ key, value }));
const web = (name, code, more, rest = {}) => put(name, code, { annotations: annotations(more), ...rest });
const anonymous = { auth: null };
const call = (method, path, body, options = {}) => send(method, `${WEB}${path}`, body, { auth: null, ...options });
const pretty = (value) => JSON.stringify(value, null, 2);

cases({
  async 'what is not there'() {
    await web('echo', 'function main(p) { return p }');
    await put('hidden', 'function main(p) { return p }');
    await put('odd', 'function main(p) { return p }', { annotations: [{ key: 'web-export', value: 'true' }] });
    for (const path of ['', '/default', '/default/missing', '/missing/echo', '/default/hidden', '/default/echo.exe', '/default/odd']) {
      await expect('GET', `${WEB}${path}`, undefined, 404, '', anonymous);
    }
    await expect('GET', '/api/v1/web/nobody/default/echo', undefined, 404, 'The requested resource does not exist.', anonymous);
    await expect('TRACEX', `${WEB}/default/echo`, undefined, 405, '', anonymous);
  },
  async 'what the action is given'() {
    const got = (await call('POST', '/default/echo.json/some/path?a=1&b=2', { b: 'body', c: { d: 1 } }, { headers: { 'X-Custom': 'Yes' } })).json;
    assert.equal(got.__ow_method, 'post');
    assert.equal(got.__ow_path, '/some/path');
    assert.equal(got.__ow_headers['x-custom'], 'Yes');
    assert.equal(got.__ow_headers['content-type'], 'application/json');
    assert.equal(got.__ow_user, undefined);
    assert.deepEqual([got.a, got.b, got.c], ['1', 'body', { d: 1 }]);
    for (const method of ['GET', 'PUT', 'DELETE', 'PATCH']) assert.equal((await call(method, '/default/echo.json')).json.__ow_method, method.toLowerCase());
    assert.equal((await call('GET', '/default/echo.json')).json.__ow_path, '');
    assert.equal((await send('GET', `${WEB}/default/echo.json`, undefined, { auth: AUTH })).json.__ow_user, NAMESPACE);
    const form = await call('POST', '/default/echo.json', 'x=1+2&y=%C3%A9', { headers: { 'content-type': 'application/x-www-form-urlencoded' } });
    assert.deepEqual([form.json.x, form.json.y], ['1 2', 'é']);
    const text = await call('POST', '/default/echo.json', 'plain', { headers: { 'content-type': 'text/plain' } });
    assert.equal(text.json.__ow_body, 'plain');
    const binary = await call('POST', '/default/echo.json', Buffer.from([1, 2, 255]), { headers: { 'content-type': 'application/octet-stream' } });
    assert.equal(binary.json.__ow_body, 'AQL/');
    assert.deepEqual((await call('POST', '/default/echo.json', [1, 2])).json.__ow_body, [1, 2]);
    assert.equal((await call('POST', '/default/echo.json', '{', { headers: { 'content-type': 'application/json' } })).status, 400);
  },
  async 'what may not be set'() {
    const text = 'Request defines parameters that are not allowed (e.g., reserved properties).';
    for (const key of ['__ow_method', '__ow_headers', '__ow_path', '__ow_user', '__ow_query', '__ow_body']) {
      await expect('GET', `${WEB}/default/echo.json?${key}=x`, undefined, 400, text, anonymous);
      await expect('POST', `${WEB}/default/echo.json`, { [key]: 'x' }, 400, text, anonymous);
    }
    await web('final', 'function main(p) { return p }', { final: true }, { parameters: [{ key: 'x', value: 1 }, { key: 'n', value: null }] });
    await expect('GET', `${WEB}/default/final.json?x=2`, undefined, 400, text, anonymous);
    assert.equal((await call('GET', '/default/final.json?n=2')).json.n, '2');
    await expect('POST', `${WEB}/default/echo`, { a: 'x'.repeat(1024 * 1024) }, 413, '', anonymous);
  },
  async 'raw requests'() {
    await web('raw', 'function main(p) { return p }', { 'raw-http': true });
    const got = (await call('POST', '/default/raw.json?a=1&__ow_path=x', { b: 1 })).json;
    assert.equal(got.__ow_query, 'a=1&__ow_path=x');
    assert.equal(Buffer.from(got.__ow_body, 'base64').toString(), '{"b":1}');
    assert.equal(got.a, undefined);
    assert.deepEqual([(await call('GET', '/default/raw.json')).json].map((p) => [p.__ow_query, p.__ow_body]), [['', '']]);
    const text = await call('POST', '/default/raw.json', 'plain', { headers: { 'content-type': 'text/plain' } });
    assert.equal(text.json.__ow_body, 'plain');
  },
  async 'packages and bindings'() {
    await expect('PUT', 'packages/wp', { publish: true, parameters: [{ key: 'p', value: 'package' }, { key: 'q', value: 'package' }] }, 200);
    await expect('PUT', 'actions/wp/act', { exec: { kind: 'nodejs:default', code: 'function main(p) { return p }' }, annotations: annotations(), parameters: [{ key: 'q', value: 'action' }] }, 200);
    const got = (await call('GET', '/wp/act.json?r=query')).json;
    assert.deepEqual([got.p, got.q, got.r], ['package', 'action', 'query']);
    await expect('PUT', 'packages/wb', { binding: { name: 'wp' }, parameters: [{ key: 'p', value: 'binding' }] }, 200);
    assert.equal((await call('GET', '/wb/act.json')).json.p, 'binding');
  },
  async 'whisk-auth'() {
    await web('auth', 'function main() { return { ok: true } }', { 'require-whisk-auth': true });
    await expect('GET', `${WEB}/default/auth.json`, undefined, 401, '', anonymous);
    await expect('GET', `${WEB}/default/auth.json`, undefined, 200, '', { auth: AUTH });
    assert.equal((await call('OPTIONS', '/default/auth.json')).status, 200);
    for (const secret of ['secret', 123]) {
      await web('auth', 'function main() { return { ok: true } }', { 'require-whisk-auth': secret });
      await expect('GET', `${WEB}/default/auth.json`, undefined, 401, '', { auth: AUTH });
      await expect('GET', `${WEB}/default/auth.json`, undefined, 401, '', { auth: null, headers: { 'x-require-whisk-auth': 'wrong' } });
      await expect('GET', `${WEB}/default/auth.json`, undefined, 200, '', { auth: null, headers: { 'x-require-whisk-auth': String(secret) } });
    }
    await web('auth', 'function main() { return { ok: true } }', { 'require-whisk-auth': false });
    await expect('GET', `${WEB}/default/auth.json`, undefined, 200, '', anonymous);
  },
  async 'answers by extension'() {
    const code = 'function main(p) { return { html: "<b>h</b>", svg: "<svg/>", text: "t", n: 1 } }';
    await web('many', code);
    const kinds = { html: ['text/html; charset=UTF-8', '<b>h</b>'], svg: ['image/svg+xml', '<svg/>'], text: ['text/plain; charset=UTF-8', 't'], json: ['application/json', pretty({ html: '<b>h</b>', svg: '<svg/>', text: 't', n: 1 })] };
    for (const [extension, [type, body]] of Object.entries(kinds)) {
      const answer = await call('GET', `/default/many.${extension}`);
      assert.equal(answer.status, 200);
      assert.equal(answer.headers.get('content-type'), type);
      assert.equal(answer.text, body);
      assert.match(answer.headers.get('x-openwhisk-activation-id'), /^[0-9a-f]{32}$/);
    }
    await web('nothing', 'function main() { return { other: 1 } }');
    await expect('GET', `${WEB}/default/nothing.text`, undefined, 404, 'Response does not include requested property.', anonymous);
    await expect('GET', `${WEB}/default/nothing.html`, undefined, 400, "Response is not valid 'text/html'.", anonymous);
  },
  async 'answers of http'() {
    const table = [
      ['{ body: "x" }', 200, 'text/html; charset=UTF-8', 'x'],
      ['{ statusCode: 201, headers: { "Content-Type": "text/plain", "X-A": [1, true, "z"] }, body: "y" }', 201, 'text/plain; charset=UTF-8', 'y'],
      ['{ statusCode: 302, headers: { location: "http://example.org/" } }', 302, null, ''],
      ['{}', 204, null, ''],
      ['{ body: { a: 1 } }', 200, 'application/json', '{"a":1}'],
      ['{ headers: { "content-type": "image/png" }, body: Buffer.from("png").toString("base64") }', 200, 'image/png', 'png'],
      ['{ headers: { "content-type": "application/json" }, body: Buffer.from("{}").toString("base64") }', 200, 'application/json', '{}'],
      ['{ statusCode: 444 }', 444, null, ''],
      ['{ statusCode: "404", body: "gone" }', 404, 'text/html; charset=UTF-8', 'gone'],
      ['{ error: { statusCode: 418, body: "teapot" } }', 418, 'text/html; charset=UTF-8', 'teapot'],
    ];
    for (const [result, status, type, body] of table) {
      await web('mapped', `function main() { return ${result} }`);
      const answer = await call('GET', '/default/mapped');
      assert.equal(answer.status, status, result);
      assert.equal(answer.headers.get('content-type'), type, result);
      assert.equal(answer.text, body, result);
    }
    await web('mapped', `function main() { return ${table[1][0]} }`);
    assert.equal((await call('GET', '/default/mapped')).headers.get('x-a'), '1, true, z');
    for (const [result, text] of [
      ['{ headers: { "content-type": "image/png" }, body: "é" }', 'Response type in header did not match generated content type.'],
      ['{ headers: { "content-type": "nonsense" }, body: "x" }', 'Response did not specify a known content-type.'],
      ['{ statusCode: "x" }', "Response is not valid 'message/http'."],
      ['{ error: "text" }', "Response is not valid 'message/http'."],
    ]) {
      await web('mapped', `function main() { return ${result} }`);
      const answer = await expect('GET', `${WEB}/default/mapped`, undefined, 400, text, anonymous);
      assert.equal(answer.text, pretty(answer.json));
    }
    await web('mapped', 'function main() { throw new Error("x") }');
    await expect('GET', `${WEB}/default/mapped`, undefined, 400, 'There was an error processing your request.', anonymous);
  },
  async 'options and cross-origin requests'() {
    const plain = await call('OPTIONS', '/default/echo', undefined, { headers: { 'access-control-request-headers': 'x-mine' } });
    assert.equal(plain.status, 200);
    assert.equal(plain.headers.get('access-control-allow-origin'), '*');
    assert.equal(plain.headers.get('access-control-allow-methods'), 'OPTIONS, GET, DELETE, POST, PUT, HEAD, PATCH');
    assert.equal(plain.headers.get('access-control-allow-headers'), 'x-mine');
    const other = await call('GET', '/default/echo.json');
    assert.equal(other.headers.get('access-control-allow-headers'), 'Authorization, Origin, X-Requested-With, Content-Type, Accept, User-Agent');
    await web('options', 'function main(p) { return { headers: { "X-Method": p.__ow_method }, statusCode: 200, body: "own" } }', { 'web-custom-options': true, 'require-whisk-auth': true });
    const own = await call('OPTIONS', '/default/options');
    assert.equal(own.headers.get('x-method'), 'options');
    assert.equal(own.headers.get('access-control-allow-origin'), null);
  },
  async 'head has no body'() {
    const answer = await call('HEAD', '/default/many.json');
    assert.equal(answer.status, 200);
    assert.equal(answer.text, '');
  },
});
