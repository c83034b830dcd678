// Routes, as npm `openwhisk` makes, lists and removes them, and what they lead to.
'use strict';

const { assert, HOST, NAMESPACE, cases, put, send, expect, openwhisk } = require('../../kit/whisk.cjs');

const ow = openwhisk();
const other = openwhisk({ api_key: process.env.OW_OTHER_AUTH });
const web = (rest = []) => ({ annotations: [{ key: 'web-export', value: true }, ...rest] });

async function get(url, options) {
  const response = await fetch(url, options);
  const text = await response.text();
  let json;
  try { json = JSON.parse(text); } catch { json = undefined; }
  return { status: response.status, headers: response.headers, text, json };
}

async function refused(promise, part) {
  await assert.rejects(promise, (error) => {
    assert.ok(error.message.includes(part), error.message);
    return true;
  });
}

cases({
  async 'create answers the address, and it leads to the action'() {
    await put('books', 'function main(p) { return { method: p.__ow_method, name: p.name } }', web());
    const made = await ow.routes.create({ action: 'books', basepath: '/club', relpath: '/books', operation: 'get', name: 'Book Club' });
    assert.equal(made.gwApiActivated, true);
    assert.ok(made.gwApiUrl.startsWith(HOST) && made.gwApiUrl.endsWith('/club'), made.gwApiUrl);
    assert.deepEqual([made.apidoc.basePath, made.apidoc.info.title], ['/club', 'Book Club']);
    assert.equal(made.apidoc.paths['/books'].get['x-openwhisk'].action, 'books');
    const answer = await get(`${made.gwApiUrl}/books?name=a`);
    assert.deepEqual([answer.status, answer.json], [200, { method: 'get', name: 'a' }]);
    assert.equal(answer.headers.get('access-control-allow-origin'), '*');
  },
  async 'methods of one path are apart'() {
    await put('shelf/add', 'function main(p) { return { added: p.title } }', web()).catch(async () => {
      await ow.packages.create({ name: 'shelf' });
      return put('shelf/add', 'function main(p) { return { added: p.title } }', web());
    });
    const made = await ow.routes.create({ action: 'shelf/add', basepath: '/club', relpath: '/books', operation: 'post' });
    const added = await get(`${made.gwApiUrl}/books`, { method: 'POST', body: '{"title":"x"}', headers: { 'content-type': 'application/json' } });
    assert.deepEqual(added.json, { added: 'x' });
    assert.equal((await get(`${made.gwApiUrl}/books`)).json.method, 'get');
    const wrong = await get(`${made.gwApiUrl}/books`, { method: 'DELETE' });
    assert.equal(wrong.status, 405);
    assert.match(wrong.json.error, /GET, POST/);
    const preflight = await get(`${made.gwApiUrl}/books`, { method: 'OPTIONS', headers: { 'access-control-request-headers': 'x-a' } });
    assert.deepEqual([preflight.status, preflight.headers.get('access-control-allow-headers')], [200, 'x-a']);
  },
  async 'answers of type http, with parameters in the path'() {
    const code = 'function main(p) { return { statusCode: 201, headers: { "x-mine": "1" }, body: { path: p.__ow_path } } }';
    await put('byid', code, web());
    const made = await ow.routes.create({ action: 'byid', basepath: '/club', relpath: '/books/{isbn}/{genre}', operation: 'get', responsetype: 'http' });
    assert.equal(made.apidoc.paths['/books/{isbn}/{genre}'].get.parameters[0].name, 'isbn');
    const answer = await get(`${made.gwApiUrl}/books/12%2034/new`);
    assert.deepEqual([answer.status, answer.headers.get('x-mine'), answer.json], [201, '1', { path: '/club/books/12 34/new' }]);
    assert.equal((await get(`${made.gwApiUrl}/books/1`)).status, 404);
  },
  async 'a secret of the action is sent by the route only'() {
    await put('secret', 'function main(p) { return { seen: p.__ow_headers["x-require-whisk-auth"] } }', web([{ key: 'require-whisk-auth', value: 'k1' }]));
    const open = await get(`${HOST}/api/v1/web/${NAMESPACE}/default/secret.json`);
    assert.equal(open.status, 401);
    const made = await ow.routes.create({ action: 'secret', basepath: '/secret', relpath: '/', operation: 'get', secure_key: 'k1' });
    assert.equal((await get(`${made.gwApiUrl}/`)).status, 200);
    const without = await ow.routes.create({ action: 'secret', basepath: '/secret', relpath: '/open', operation: 'get' });
    const forged = await get(`${without.gwApiUrl}/open`, { headers: { 'x-require-whisk-auth': 'wrong' } });
    assert.equal(forged.status, 401);
  },
  async 'list and get, by base path, name, path and method'() {
    const all = await ow.routes.list();
    assert.deepEqual(all.apis.map((api) => api.value.apidoc.basePath).sort(), ['/club', '/secret']);
    const one = await ow.routes.get({ basepath: '/club' });
    assert.deepEqual(Object.keys(one.apis[0].value.apidoc.paths), ['/books', '/books/{isbn}/{genre}']);
    assert.equal((await ow.routes.get({ name: 'Book Club' })).apis.length, 1);
    assert.equal((await ow.routes.get({ basepath: '/none' })).apis.length, 0);
    const narrow = await ow.routes.list({ basepath: '/club', relpath: '/books', operation: 'post' });
    assert.deepEqual(Object.keys(narrow.apis[0].value.apidoc.paths['/books']), ['post']);
  },
  async 'a whole document replaces an API'() {
    const url = `${HOST}/api/v1/web/${NAMESPACE}/default/books.json`;
    const operation = { operationId: 'g', 'x-openwhisk': { action: 'books', namespace: NAMESPACE, package: 'default', url }, responses: {} };
    const swagger = { swagger: '2.0', basePath: '/whole', info: { title: 'W', version: '1' }, paths: { '/a': { get: operation } } };
    const made = await ow.routes.create({ swagger });
    assert.equal((await get(`${made.gwApiUrl}/a?name=w`)).json.name, 'w');
    const again = await ow.routes.create({ swagger: { ...swagger, paths: { '/b': { get: operation } } } });
    assert.equal((await get(`${again.gwApiUrl}/a`)).status, 404);
    assert.equal((await get(`${again.gwApiUrl}/b`)).status, 200);
  },
  async 'what cannot be led is refused'() {
    await refused(ow.routes.create({ swagger: { basePath: '/x', paths: {} } }), 'swagger is missing the info field.');
    await refused(ow.routes.create({ action: 'books', basepath: 'x', relpath: '/', operation: 'get' }), "must begin with '/'");
    await refused(ow.routes.create({ action: 'books', relpath: '/', operation: 'get', responsetype: 'exe' }), 'responsetype');
    const secured = { swagger: '2.0', basePath: '/s', info: {}, paths: {}, security: [{ client_id: [] }] };
    await refused(ow.routes.create({ swagger: secured }), 'security');
    await expect('POST', '/api/v1/web/whisk.system/apimgmt/createApi', {}, 502, 'apidoc is required.');
    await expect('GET', '/api/v1/web/whisk.system/apimgmt/getApi', undefined, 401, 'authentication', { auth: null });
    await expect('GET', '/api/v1/web/whisk.system/apimgmt/none', undefined, 404);
    await expect('PUT', '/api/v1/web/whisk.system/apimgmt/getApi', {}, 405, 'GET');
  },
  async 'routes belong to their namespace'() {
    assert.deepEqual((await other.routes.list()).apis, []);
    await refused(other.routes.delete({ basepath: '/club' }), "API '/club' does not exist.");
    assert.equal((await get(`${HOST}/api/gw-other/club/books`)).status, 404);
    assert.equal((await get(`${HOST}/api/gw-nobody/club/books`)).status, 404);
  },
  async 'delete one operation, a path, an API'() {
    await refused(ow.routes.delete({ basepath: '/club', relpath: '/books', operation: 'put' }), "does not exist in the API");
    await ow.routes.delete({ basepath: '/club', relpath: '/books', operation: 'post' });
    const { gwApiUrl } = (await ow.routes.get({ basepath: '/club' })).apis[0].value;
    assert.equal((await get(`${gwApiUrl}/books`, { method: 'POST' })).status, 405);
    await ow.routes.delete({ basepath: '/club', relpath: '/books' });
    assert.equal((await get(`${gwApiUrl}/books`)).status, 404);
    await ow.routes.delete({ name: 'Book Club' });
    assert.equal((await ow.routes.get({ basepath: '/club' })).apis.length, 0);
    await refused(ow.routes.delete({ basepath: '/club' }), 'does not exist');
  },
  async 'a path without its action is not found'() {
    const made = await ow.routes.create({ action: 'gone', basepath: '/gone', relpath: '/', operation: 'get' });
    assert.equal((await get(`${made.gwApiUrl}/`)).status, 404);
    assert.equal((await send('GET', '/api/gw-guest/gone/x')).status, 404);
  },
});
