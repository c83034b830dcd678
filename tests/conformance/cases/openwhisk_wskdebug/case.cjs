// wskdebug, as far as it goes without Docker: it finds the action, puts its agents in place of it, and takes activations.
'use strict';

const { spawnSync } = require('node:child_process');
const fs = require('node:fs');
const os = require('node:os');
const path = require('node:path');
const { assert, cases, put, run, send, openwhisk, AUTH, HOST, NAMESPACE } = require('../../kit/whisk.cjs');

const root = path.dirname(require.resolve('@openwhisk/wskdebug/package.json'));
const AgentMgr = require('@openwhisk/wskdebug/src/agentmgr.js');
const ow = openwhisk();

const ORIGINAL = 'function main(p) { return { from: "original", p } }';

// What the debugger does around its container: the action runs here, in this process.
async function debugged(name, options, work) {
  const agent = new AgentMgr({ cleanup: true, ...options }, ow, name);
  await agent.peekAction();
  await agent.readActionWithCode();
  await agent.installAgent({ name: () => 'here' }, () => {});
  const serving = (async () => {
    for (;;) {
      const params = await agent.waitForActivations();
      if (!params) return;
      const id = params.$activationId;
      delete params.$activationId;
      await agent.completeActivation(id, { from: 'here', params }, 1);
    }
  })();
  try {
    await work(agent);
  } finally {
    agent.stop();
    await agent.shutdown();
    // Whoever still polls is told by the restored action, or by its end.
    await Promise.race([serving.catch(() => {}), new Promise((resolve) => setTimeout(resolve, 100))]);
  }
}

cases({
  async 'the command line finds action and credentials, and needs Docker from there on'() {
    await put('debugcli', ORIGINAL);
    const home = fs.mkdtempSync(path.join(os.tmpdir(), 'wskdebug-'));
    fs.writeFileSync(path.join(home, '.wskprops'), `APIHOST=${HOST}\nAUTH=${AUTH}\nNAMESPACE=${NAMESPACE}\n`);
    const ended = spawnSync(process.execPath, [path.join(root, 'wskdebug.js'), 'debugcli'], {
      cwd: home,
      encoding: 'utf8',
      env: { PATH: process.env.PATH, HOME: home, DOCKER_HOST: `unix://${home}/none.sock` },
    });
    const printed = ended.stdout + ended.stderr;
    assert.ok(printed.includes(`/${NAMESPACE}/debugcli`), printed);
    assert.match(printed, /Docker not running on local system/);
    const missing = spawnSync(process.execPath, [path.join(root, 'wskdebug.js'), 'missing'], {
      cwd: home,
      encoding: 'utf8',
      env: { PATH: process.env.PATH, HOME: home, DOCKER_HOST: `unix://${home}/none.sock` },
    });
    assert.match(missing.stdout + missing.stderr, /Action not found: missing/);
  },
  async 'the agent of concurrent activations takes and completes them, and the action is restored'() {
    await put('debugfast', ORIGINAL, { parameters: [{ key: 'fixed', value: 1 }] });
    await debugged('debugfast', {}, async (agent) => {
      assert.equal(agent.concurrency, true);
      const installed = (await send('GET', 'actions/debugfast')).json;
      assert.deepEqual([installed.limits.concurrency, installed.limits.timeout], [200, 300000]);
      for (const i of [1, 2]) {
        // The agent's own completion repeats the action's parameters in the result.
        const ran = await run('debugfast', { i });
        assert.deepEqual(ran.result, { fixed: 1, from: 'here', params: { fixed: 1, i } });
      }
    });
    assert.equal((await run('debugfast')).result.from, 'original');
    assert.equal((await send('GET', 'actions/debugfast_wskdebug_original')).status, 404);
  },
  async 'the agent that polls activations does without concurrency'() {
    await put('debugslow', ORIGINAL);
    await debugged('debugslow', { disableConcurrency: true, agentTimeout: 60 }, async (agent) => {
      assert.equal(agent.concurrency, false);
      const ran = await run('debugslow', { i: 1 });
      assert.deepEqual(ran.result, { from: 'here', params: { i: 1 } });
    });
    assert.equal((await run('debugslow')).result.from, 'original');
  },
}).then(
  // The agents' loops have no end of their own.
  () => process.exit(0),
  (error) => {
    console.error(error);
    process.exit(1);
  },
);
