// The REST API by hand: entities, lists, errors. ActionsApiTests, PackagesApiTests, TriggersApiTests, RulesApiTests,
// ActivationsApiTests, NamespacesApiTests, LimitsApiTests, BasicAuthenticateTests, HeadersTests.
'use strict';

const { assert, annotation, cases, expect, put, run, send, NAMESPACE } = require('../../kit/whisk.cjs');

const CODE = 'function main(p) { return p }';
const exec = { kind: 'nodejs:default', code: CODE };
const MALFORMED = 'The request content was malformed:';

cases({
  async 'namespaces and limits'() {
    const all = await expect('GET', '/api/v1/namespaces', undefined, 200);
    assert.deepEqual(all.json, [NAMESPACE]);
    for (const method of ['PUT', 'POST', 'DELETE']) await expect(method, '/api/v1/namespaces', {}, 405, 'HTTP method not allowed, supported methods: GET');
    const limits = (await expect('GET', 'limits', undefined, 200)).json;
    for (const name of ['invocationsPerMinute', 'concurrentInvocations', 'firesPerMinute', 'minActionMemory', 'maxActionMemory', 'minActionLogs', 'maxActionLogs', 'minActionTimeout', 'maxActionTimeout', 'minActionConcurrency', 'maxActionConcurrency', 'maxActionInstances']) {
      assert.equal(typeof limits[name], 'number', name);
    }
    assert.equal(typeof limits.maxParameterSize, 'string');
    await expect('PUT', 'limits', {}, 405);
  },
  async 'what the platform says of itself'() {
    const root = (await expect('GET', '/', undefined, 200, '', { auth: null })).json;
    assert.deepEqual(root.api_paths, ['/api/v1']);
    assert.ok(root.runtimes.nodejs.some((runtime) => runtime.default && runtime.kind.startsWith('nodejs:')));
    const version = (await expect('GET', '/api/v1', undefined, 200, '', { auth: null })).json;
    assert.equal(version.api_version, '1.0.0');
    assert.equal((await expect('GET', '/api/v1/api-docs', undefined, 200, '', { auth: null })).json.swagger, '2.0');
  },
  async 'credentials'() {
    for (const auth of [null, 'a:b', 'nonsense', `${process.env.OW_AUTH}x`]) {
      const answer = await expect('GET', 'actions', undefined, 401, 'code', { auth });
      assert.equal(answer.headers.get('www-authenticate'), 'Basic realm="OpenWhisk secure realm"');
    }
    await expect('GET', 'actions', undefined, 401, 'code', { auth: null, headers: { authorization: 'Bearer x' } });
  },
  async 'headers of every answer'() {
    const answer = await send('GET', 'actions', undefined, { headers: { 'x-request-id': 'mine' } });
    assert.equal(answer.headers.get('x-request-id'), 'mine');
    assert.equal(answer.headers.get('access-control-allow-origin'), '*');
    assert.equal(answer.headers.get('access-control-allow-methods'), 'GET, DELETE, POST, PUT, HEAD');
    const other = await send('GET', 'actions/missing', undefined, { headers: { 'x-request-id': 'sid_x' } });
    assert.equal(other.headers.get('x-request-id').length, 32);
    assert.equal(other.json.code, other.headers.get('x-request-id'));
    assert.equal((await send('OPTIONS', 'actions', undefined, { auth: null })).status, 200);
    await expect('GET', 'nothing', undefined, 404, 'The requested resource could not be found.');
  },
  async 'actions are made, read, changed, deleted'() {
    const made = await expect('PUT', 'actions/crud?', { exec }, 200);
    assert.equal(made.json.version, '0.0.1');
    assert.equal(annotation(made.json, 'provide-api-key'), false);
    assert.equal(annotation(made.json, 'exec'), made.json.exec.kind);
    assert.deepEqual(made.json.limits, { timeout: 60000, memory: 256, logs: 10, concurrency: 1 });
    await expect('PUT', 'actions/crud', { exec }, 409, 'resource already exists');
    const updated = await expect('PUT', 'actions/crud?overwrite=true', { parameters: [{ key: 'a', value: 1 }], annotations: [{ key: 'x', value: { y: 2 } }] }, 200);
    assert.equal(updated.json.version, '0.0.2');
    assert.equal(updated.json.exec.code, CODE);
    assert.deepEqual(updated.json.parameters, [{ key: 'a', value: 1 }]);
    const again = await expect('PUT', 'actions/crud?overwrite=true', { annotations: [{ key: 'z', value: 1 }], delAnnotations: ['x'], version: '1.2.3' }, 200);
    assert.equal(again.json.version, '1.2.3');
    assert.equal(annotation(again.json, 'x'), undefined);
    assert.equal(annotation(again.json, 'z'), 1);
    assert.deepEqual(again.json.parameters, [{ key: 'a', value: 1 }]);
    const bare = await expect('GET', 'actions/crud?code=false', undefined, 200);
    assert.equal(bare.json.exec.code, undefined);
    await expect('DELETE', 'actions/crud', undefined, 200, CODE);
    await expect('GET', 'actions/crud', undefined, 404, 'The requested resource does not exist.');
    await expect('DELETE', 'actions/crud', undefined, 404);
    await expect('POST', 'actions/crud', {}, 404);
  },
  async 'actions that are not described well'() {
    await expect('PUT', 'actions/bad', undefined, 400);
    await expect('PUT', 'actions/bad', {}, 400, 'exec undefined');
    await expect('PUT', 'actions/bad', '{', 400, MALFORMED, { headers: { 'content-type': 'application/json' } });
    await expect('PUT', 'actions/bad', { exec: {} }, 400, MALFORMED);
    await expect('PUT', 'actions/bad', { exec: { code: CODE } }, 400, MALFORMED);
    await expect('PUT', 'actions/bad', { exec: { kind: 'nodejs:default' } }, 400, MALFORMED);
    await expect('PUT', 'actions/bad', { exec: { kind: 'foobar', code: '' } }, 400, "The specified runtime 'foobar' is not supported by this platform. Valid values are: '");
    await expect('PUT', 'actions/bad', { exec, parameters: { a: 1 } }, 400, MALFORMED);
    await expect('PUT', 'actions/bad', { exec, annotations: { a: 1 } }, 400, MALFORMED);
    await expect('PUT', 'actions/bad?overwrite=maybe', { exec }, 400, "The query parameter 'overwrite' was malformed:");
    await expect('POST', 'actions', {}, 405);
    const long = 'x'.repeat(257);
    for (const method of ['GET', 'PUT', 'POST', 'DELETE']) {
      await expect(method, `actions/${long}`, method === 'GET' ? undefined : { exec }, 400, 'Name segement longer than allowed: 257 > 256.');
    }
    await expect('PUT', 'actions/bad%2Fname%20', { exec }, 400);
    await expect('PUT', `actions/name%20with.odd%20&%20@parts`, { exec }, 200);
    await expect('DELETE', `actions/name%20with.odd%20&%20@parts`, undefined, 200);
  },
  async 'limits of actions'() {
    const table = [
      [{ timeout: 99 }, 'duration 99 milliseconds below allowed threshold of 100 milliseconds'],
      [{ timeout: 300001 }, 'duration 300001 milliseconds exceeds allowed threshold of 300000 milliseconds'],
      [{ memory: 127 }, 'memory size 127 MB below allowed threshold of 128 MB'],
      [{ memory: 513 }, 'memory size 513 MB exceeds allowed threshold of 512 MB'],
      [{ logs: 11 }, 'allowed threshold of 10 MB'],
      [{ logs: -1 }, 'below'],
      [{ concurrency: 0 }, 'concurrency'],
      [{ concurrency: 501 }, 'concurrency'],
      [{ instances: -1 }, 'instances'],
    ];
    for (const [limits, text] of table) await expect('PUT', 'actions/limited', { exec, limits }, 400, text);
    const good = await expect('PUT', 'actions/limited', { exec, limits: { timeout: 100, memory: 128, logs: 0, concurrency: 1 } }, 200);
    assert.deepEqual(good.json.limits, { timeout: 100, memory: 128, logs: 0, concurrency: 1 });
    await expect('DELETE', 'actions/limited', undefined, 200);
  },
  async 'sizes'() {
    const much = 'x'.repeat(1024 * 1024);
    await expect('PUT', 'actions/big', { exec, parameters: [{ key: 'a', value: much }] }, 413, 'parameters larger than allowed: 1048579 > 1048576 bytes.');
    await expect('PUT', 'actions/big', { exec, annotations: [{ key: 'a', value: much }] }, 413, 'annotations larger than allowed:');
    await put('big', CODE);
    await expect('POST', 'actions/big', { a: much }, 413, 'Request larger than allowed: 1048584 > 1048576 bytes.');
    await expect('PUT', 'triggers/bigtrigger', {}, 200);
    await expect('POST', 'triggers/bigtrigger', { a: much }, 413);
    await expect('PUT', 'actions/huge', { exec: { kind: 'nodejs:default', code: ' '.repeat(48 * 1024 * 1024 + 1) } }, 413, 'exec larger than allowed');
  },
  async 'lists'() {
    const names = ['l1', 'l2', 'l3'];
    for (const name of names) await put(name, CODE);
    const listed = (await expect('GET', 'actions?limit=2', undefined, 200)).json;
    assert.deepEqual(listed.map((action) => action.name), ['l3', 'l2']);
    assert.deepEqual(Object.keys(listed[0]).sort(), ['annotations', 'exec', 'limits', 'name', 'namespace', 'publish', 'updated', 'version']);
    assert.deepEqual(listed[0].exec, { binary: false });
    assert.equal((await expect('GET', 'actions?limit=1&skip=1', undefined, 200)).json[0].name, 'l2');
    const count = (await expect('GET', 'actions?count=true', undefined, 200)).json;
    assert.equal(typeof count.actions, 'number');
    for (const collection of ['actions', 'packages', 'triggers', 'rules', 'activations']) {
      await expect('GET', `${collection}?limit=201`, undefined, 400, `The value '201' is not in the range of 0 to 200 for ${collection}.`);
      await expect('GET', `${collection}?limit=-1`, undefined, 400, `The value '-1' is not in the range of 0 to 200 for ${collection}.`);
      for (const bad of ['limit=x', 'skip=-1', 'skip=x']) await expect('GET', `${collection}?${bad}`, undefined, 400, 'The query parameter');
      await expect('GET', `${collection}?limit=0`, undefined, 200);
    }
  },
  async 'one space of names'() {
    await put('shared', CODE);
    const text = 'Resource by this name exists but is not in this collection.';
    for (const collection of ['triggers', 'packages', 'rules']) {
      await expect('GET', `${collection}/shared`, undefined, 409, text);
      await expect('PUT', `${collection}/shared`, { trigger: '/_/a', action: '/_/b' }, 409, text);
      await expect('DELETE', `${collection}/shared`, undefined, 409, text);
    }
    await expect('DELETE', 'actions/shared', undefined, 200);
  },
  async 'packages and bindings'() {
    await expect('PUT', 'packages/default', {}, 400, "Package name 'default' is reserved.");
    const made = await expect('PUT', 'packages/pack', { parameters: [{ key: 'a', value: 'package' }, { key: 'b', value: 'package' }, { key: 'c', value: 'package' }] }, 200);
    assert.deepEqual(made.json.binding, {});
    await expect('PUT', 'actions/pack/act', { exec, parameters: [{ key: 'c', value: 'action' }] }, 200);
    await expect('PUT', 'actions/pack/feed', { exec, annotations: [{ key: 'feed', value: true }] }, 200);
    const shown = (await expect('GET', 'packages/pack', undefined, 200)).json;
    assert.deepEqual(shown.actions.map((action) => action.name), ['act']);
    assert.deepEqual(shown.feeds.map((action) => action.name), ['feed']);
    await expect('PUT', 'packages/bind', { binding: { namespace: '_', name: 'missing' } }, 400, 'Binding references a package that does not exist.');
    await put('nopackage', CODE);
    await expect('PUT', 'packages/bind', { binding: { namespace: '_', name: 'nopackage' } }, 409);
    const bound = await expect('PUT', 'packages/bind', { binding: { name: 'pack' }, parameters: [{ key: 'b', value: 'binding' }] }, 200);
    assert.deepEqual(bound.json.binding, { namespace: NAMESPACE, name: 'pack' });
    assert.deepEqual(annotation(bound.json, 'binding'), { namespace: NAMESPACE, name: 'pack' });
    await expect('PUT', 'packages/bind2', { binding: { namespace: '_', name: 'bind' } }, 400, 'Cannot bind to another package binding.');
    await expect('PUT', 'packages/pack?overwrite=true', { binding: { namespace: '_', name: 'pack' } }, 409);
    const merged = (await expect('GET', 'actions/bind/act', undefined, 200)).json;
    assert.deepEqual(Object.fromEntries(merged.parameters.map(({ key, value }) => [key, value])), { a: 'package', b: 'binding', c: 'action' });
    const ran = await run('bind/act', { d: 1 });
    assert.deepEqual(ran.result, { a: 'package', b: 'binding', c: 'action', d: 1 });
    assert.equal(annotation(ran.record, 'path'), `${NAMESPACE}/pack/act`);
    assert.equal(annotation(ran.record, 'binding'), `${NAMESPACE}/bind`);
    await expect('PUT', 'actions/bind/new', { exec }, 400, 'Operation not permitted on package binding.');
    await expect('DELETE', 'actions/bind/act', undefined, 400, 'Operation not permitted on package binding.');
    await expect('PUT', 'actions/missing/act', { exec }, 404);
    assert.equal((await expect('GET', 'actions/pack/', undefined, 200)).json.length, 2);
    assert.equal((await expect('GET', 'actions/bind/', undefined, 200)).json.length, 2);
    const listed = (await expect('GET', 'packages', undefined, 200)).json;
    assert.equal(listed.find((entry) => entry.name === 'pack').binding, false);
    assert.deepEqual(listed.find((entry) => entry.name === 'bind').binding, { namespace: NAMESPACE, name: 'pack' });
    await expect('DELETE', 'packages/pack', undefined, 409, 'Package not empty (contains 2 entities). Set force param or delete package contents.');
    await expect('POST', 'packages/pack', {}, 405);
    await expect('DELETE', 'packages/pack?force=true', undefined, 200);
    await expect('GET', 'actions/pack/act', undefined, 404);
    await expect('DELETE', 'packages/bind', undefined, 200);
  },
  async 'activations'() {
    await put('listed', CODE);
    await expect('PUT', 'packages/lp', {}, 200);
    await expect('PUT', 'actions/lp/listed', { exec }, 200);
    const first = await run('listed', { n: 1 });
    await run('lp/listed', { n: 2 });
    const last = await run('listed', { n: 3 });
    const list = async (query) => (await expect('GET', `activations?${query}`, undefined, 200)).json;
    const own = await list('name=listed');
    assert.deepEqual(own.map((entry) => entry.activationId), [last.record.activationId, first.record.activationId]);
    assert.deepEqual(Object.keys(own[0]).sort(), ['activationId', 'annotations', 'duration', 'end', 'name', 'namespace', 'publish', 'start', 'statusCode', 'version']);
    assert.equal((await list('name=lp/listed')).length, 1);
    const docs = await list('name=listed&docs=true&limit=1');
    assert.deepEqual(docs[0].response.result, { n: 3 });
    const at = first.record.start;
    assert.equal((await list(`name=listed&upto=${at}`)).at(-1).activationId, first.record.activationId);
    assert.ok((await list(`name=listed&since=${last.record.start}`)).length >= 1);
    assert.deepEqual(await list('name=listed&count=true'), { activations: 2 });
    await expect('GET', 'activations?count=true&docs=true', undefined, 400);
    await expect('GET', 'activations?name=a/b/c', undefined, 400);
    await expect('GET', 'activations?since=x', undefined, 400);
    const id = first.record.activationId;
    assert.match(id, /^[0-9a-f]{32}$/);
    const whole = (await expect('GET', `activations/${id}`, undefined, 200)).json;
    assert.deepEqual(Object.keys(whole.response).sort(), ['result', 'size', 'status', 'success']);
    assert.deepEqual((await expect('GET', `activations/${id}/result`, undefined, 200)).json, whole.response);
    assert.deepEqual((await expect('GET', `activations/${id}/logs`, undefined, 200)).json, { logs: whole.logs });
    await expect('GET', 'activations/short', undefined, 400, 'Activation id length is 5 but must be 32.');
    await expect('GET', `activations/${id}0`, undefined, 400, 'Activation id length is 33 but must be 32.');
    await expect('GET', `activations/${'g'.repeat(32)}`, undefined, 400);
    await expect('GET', `activations/${'0'.repeat(32)}`, undefined, 404);
    for (const method of ['PUT', 'POST', 'DELETE']) await expect(method, `activations/${id}`, {}, 405);
  },
});
