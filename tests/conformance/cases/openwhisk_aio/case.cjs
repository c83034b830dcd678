// The command line of Adobe I/O Runtime, a complete client of OpenWhisk, as its own users run it.
'use strict';

const { spawnSync } = require('node:child_process');
const fs = require('node:fs');
const os = require('node:os');
const path = require('node:path');
const { assert, cases, openwhisk, NAMESPACE } = require('../../kit/whisk.cjs');

const folder = fs.mkdtempSync(path.join(os.tmpdir(), 'aio-'));
const plugin = path.dirname(require.resolve('@adobe/aio-cli-plugin-runtime/package.json'));
// What the host command line does with its plugins.
const start = `require('@oclif/core').run(process.argv.slice(1), { root: ${JSON.stringify(plugin)} }).then(require('@oclif/core/flush')).catch(require('@oclif/core/handle'))`;

function aio(words, succeeds = true) {
  const ended = spawnSync(process.execPath, ['-e', start, '--', ...words], {
    cwd: folder,
    encoding: 'utf8',
    env: { ...process.env, HOME: folder, XDG_CONFIG_HOME: folder, XDG_DATA_HOME: folder, AIO_CLI_ENV: 'prod', USE_RUNTIME_AUTH: 'true', NODE_NO_WARNINGS: '1' },
  });
  assert.equal(ended.status === 0, succeeds, `${words.join(' ')}: ${ended.status}\n${ended.stdout}\n${ended.stderr}`);
  return ended.stdout;
}

const source = path.join(folder, 'hello.js');
fs.writeFileSync(source, 'function main(params) { console.log("in the log"); return { greeting: "Hello " + params.name } }');

cases({
  async 'actions'() {
    aio(['runtime:action:create', 'aiohello', source, '--kind', 'nodejs:default', '--param', 'name', 'default']);
    assert.match(aio(['runtime:action:list']), /hello/);
    assert.deepEqual(JSON.parse(aio(['runtime:action:invoke', 'aiohello', '--result'])), { greeting: 'Hello default' });
    assert.deepEqual(JSON.parse(aio(['runtime:action:invoke', 'aiohello', '--result', '--param', 'name', 'you'])), { greeting: 'Hello you' });
    aio(['runtime:action:update', 'aiohello', '--memory', '128']);
    assert.match(aio(['runtime:action:get', 'aiohello']), /aiohello/);
    assert.equal((await openwhisk().actions.get('aiohello')).limits.memory, 128);
    aio(['runtime:action:get', 'missing'], false);
  },
  async 'activations'() {
    const listed = JSON.parse(aio(['runtime:activation:list', '--json']));
    const id = listed.find((entry) => entry.name === 'aiohello').activationId;
    assert.deepEqual(JSON.parse(aio(['runtime:activation:result', id])).result, { greeting: 'Hello you' });
    // Its own command for logs asks a service of its maker first, which is no part of OpenWhisk.
    assert.match((await openwhisk().activations.logs(id)).logs.join('\n'), /in the log/);
  },
  async 'packages, triggers, rules'() {
    aio(['runtime:package:create', 'pack', '--param', 'name', 'package']);
    aio(['runtime:action:create', 'pack/hello', source, '--kind', 'nodejs:default']);
    assert.deepEqual(JSON.parse(aio(['runtime:action:invoke', 'pack/hello', '--result'])), { greeting: 'Hello package' });
    aio(['runtime:trigger:create', 'tick']);
    aio(['runtime:rule:create', 'rule', 'tick', 'aiohello']);
    assert.match(aio(['runtime:rule:list']), /rule/);
    aio(['runtime:trigger:fire', 'tick', '--param', 'name', 'fired']);
    aio(['runtime:rule:disable', 'rule']);
    assert.match(aio(['runtime:rule:get', 'rule']), /inactive/);
    assert.match(aio(['runtime:namespace:list']), new RegExp(NAMESPACE));
    aio(['runtime:rule:delete', 'rule']);
    aio(['runtime:trigger:delete', 'tick']);
    aio(['runtime:action:delete', 'pack/hello']);
    aio(['runtime:package:delete', 'pack']);
    aio(['runtime:action:delete', 'aiohello']);
  },
});
process.on('exit', () => fs.rmSync(folder, { recursive: true, force: true }));
