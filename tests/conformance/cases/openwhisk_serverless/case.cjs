// The Serverless Framework with its plugin for OpenWhisk, as its users run it.
'use strict';

const { spawnSync } = require('node:child_process');
const fs = require('node:fs');
const os = require('node:os');
const path = require('node:path');
const { assert, cases, until, openwhisk } = require('../../kit/whisk.cjs');

const installed = process.env.SERVERLESS_MODULES ?? path.join(process.env.SONAGI_CHECKOUT, '.cache/npm-serverless/node_modules');
const folder = fs.mkdtempSync(path.join(os.tmpdir(), 'serverless-'));
fs.symlinkSync(installed, path.join(folder, 'node_modules'));
fs.writeFileSync(path.join(folder, 'handler.js'), `
function main(params) { console.log('in the log'); return { payload: 'Hello ' + (params.name || 'nobody') }; }
function seen(params) { return { got: params }; }
exports.main = main;
exports.seen = seen;
`);
fs.writeFileSync(path.join(folder, 'serverless.yml'), `
service: shop
frameworkVersion: '3'
configValidationMode: off
provider:
  name: openwhisk
  runtime: nodejs:default
functions:
  hello:
    handler: handler.main
    name: hello
    memory: 128
    events:
      - http: GET /hello
  plain:
    handler: handler.seen
    name: shelf/plain
    parameters: { own: 1 }
    events:
      - trigger: ticks
      - schedule: cron(0 0 1 1 *)
  both:
    sequence: [hello, plain]
    name: both
resources:
  packages:
    shelf: { parameters: { shared: 2 } }
  triggers:
    ticks: { parameters: { name: trigger } }
plugins:
  - serverless-openwhisk
package:
  patterns: ['!**', 'handler.js']
`);

function serverless(...words) {
  const ended = spawnSync(process.execPath, [path.join(installed, 'serverless/bin/serverless.js'), ...words], {
    cwd: folder,
    encoding: 'utf8',
    env: { ...process.env, HOME: folder, CI: '1', SLS_TELEMETRY_DISABLED: '1', SLS_NOTIFICATIONS_MODE: 'off', NODE_NO_WARNINGS: '1' },
  });
  assert.equal(ended.status, 0, `${words.join(' ')}: ${ended.status}\n${ended.stdout}\n${ended.stderr}`);
  return ended.stdout + ended.stderr;
}

const ow = openwhisk();

cases({
  async 'deploy makes actions, packages, sequences, triggers, rules, feeds, routes'() {
    const printed = serverless('deploy');
    assert.match(printed, /Deployment successful/);
    const [route] = printed.match(/http:\/\/\S+\/api\/gw-\S+/);
    const answer = await fetch(route);
    assert.deepEqual([answer.status, await answer.json()], [200, { payload: 'Hello nobody' }]);
    assert.equal((await ow.actions.get('hello')).limits.memory, 128);
    assert.equal((await ow.actions.get('both')).exec.kind, 'sequence');
    assert.ok((await ow.triggers.list()).some((trigger) => trigger.name === 'ticks'));
    assert.ok((await ow.rules.list()).length >= 2);
  },
  async 'invoke'() {
    const printed = serverless('invoke', '-f', 'plain', '-d', '{"given":3}');
    assert.match(printed, /"given": 3/);
    assert.match(printed, /"own": 1/);
    assert.match(printed, /"shared": 2/);
    assert.match(serverless('invoke', '-f', 'both'), /Hello nobody/);
  },
  async 'triggers run what its rules say'() {
    await ow.triggers.invoke({ name: 'ticks', params: { fired: 1 } });
    await until('the rule ran', async () => {
      const found = await ow.activations.list({ name: 'shelf/plain', docs: true });
      return found.some((one) => one.response && one.response.result.got && one.response.result.got.fired === 1);
    });
  },
  async 'info'() {
    const printed = serverless('info');
    for (const part of ['hello', 'shelf', 'ticks', '/api/gw-']) assert.ok(printed.includes(part), printed);
  },
  async 'deploy again updates'() {
    const file = path.join(folder, 'handler.js');
    fs.writeFileSync(file, fs.readFileSync(file, 'utf8').replace("'Hello '", "'Bye '"));
    serverless('deploy');
    assert.deepEqual(await ow.actions.invoke({ name: 'hello', blocking: true, result: true }), { payload: 'Bye nobody' });
  },
  async 'remove'() {
    serverless('remove');
    assert.deepEqual((await ow.actions.list()).map((action) => action.name), []);
    assert.deepEqual(await ow.triggers.list(), []);
    assert.deepEqual((await ow.routes.list()).apis, []);
  },
});
