// Several activations in one instance: `limits.concurrency`, for Node as upstream.
'use strict';

const { assert, cases, put, run, record, send, until } = require('../../kit/whisk.cjs');

const limits = (concurrency, timeout = 30000) => ({ limits: { concurrency, timeout } });

// Answers when as many are inside as the payload says, so it never does unless they overlap.
const MEETING = `
const crypto = require('node:crypto');
const boot = crypto.randomUUID();
const inside = [];
async function main(p) {
  console.log('begins ' + p.i);
  process.stdout.write('unfinished ' + p.i);
  await new Promise((resolve) => {
    inside.push(resolve);
    if (inside.length === p.n) inside.splice(0).forEach((go) => go());
  });
  await new Promise((resolve) => setTimeout(resolve, 1));
  console.log(' then finished ' + p.i);
  console.error('ends ' + p.i);
  return { boot, i: p.i };
}`;

const all = (name, count, args = {}) => Promise.all(Array.from({ length: count }, (_, i) => run(name, { i, n: count, ...args })));
const boots = (runs) => new Set(runs.map((ran) => ran.result.boot));

// Activations that tell when they have begun, and end when they are let go, so that no outcome hangs on anybody's pace.
// `first` is what an activation does instead, for some.
const held = (gate, first = '') => `
const openwhisk = require('openwhisk');
const boot = require('node:crypto').randomUUID();
let inside = 0;
let most = 0;
const tell = () => openwhisk().actions.invoke({ name: 'begun-${gate}' });
function main(p) {
  ${first}
  return wait(p);
}
async function wait(p) {
  inside += 1;
  most = Math.max(most, inside);
  await tell();
  while ((await openwhisk().activations.list({ name: 'go-${gate}', limit: 1 })).length === 0) {
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
  inside -= 1;
  return { boot, most, i: p.i };
}`;

async function hold(gate, concurrency, { first, timeout } = {}) {
  for (const name of [`begun-${gate}`, `go-${gate}`]) await put(name, 'function main() { return {} }', limits(200));
  await put(gate, held(gate, first), { ...limits(concurrency, timeout), annotations: [{ key: 'provide-api-key', value: true }] });
}

const begun = (gate, count) => until(`${count} beginnings of ${gate}`, async () => (await send('GET', `activations?name=begun-${gate}&count=true`)).json.activations === count);
const letGo = (gate) => run(`go-${gate}`);

cases({
  async 'activations overlap in one instance, each with its own result'() {
    await put('meeting', MEETING, limits(8));
    for (let round = 0; round < 3; round += 1) {
      const runs = await all('meeting', 8);
      assert.deepEqual(runs.map((ran) => ran.result.i), [0, 1, 2, 3, 4, 5, 6, 7]);
      assert.equal(boots(runs).size, 1);
    }
    const shown = await send('GET', 'actions/meeting');
    assert.equal(shown.json.limits.concurrency, 8);
  },
  async 'a cold start is one activation\'s, and others that share it have no initTime'() {
    await put('cold', MEETING, limits(8));
    const runs = await all('cold', 4);
    assert.equal(boots(runs).size, 1);
    const initialized = runs.filter((ran) => ran.record.annotations.some((entry) => entry.key === 'initTime'));
    assert.equal(initialized.length, 1);
  },
  async 'each activation has its own log'() {
    const runs = await all('meeting', 8);
    for (const ran of runs) {
      const { i } = ran.result;
      const lines = (await record(ran.record.activationId)).logs.map((line) => line.slice(31));
      assert.deepEqual(lines, [`stdout: begins ${i}`, `stdout: unfinished ${i} then finished ${i}`, `stderr: ends ${i}`]);
    }
  },
  async 'more than the limit use more instances'() {
    await hold('pairs', 2);
    const runs = all('pairs', 6);
    await begun('pairs', 6);
    await letGo('pairs');
    const ended = await runs;
    assert.equal(boots(ended).size, 3);
    for (const ran of ended) assert.ok(ran.result.most <= 2, `${ran.result.most} at once`);
  },
  async 'the limit of one keeps them apart'() {
    await hold('alone', 1);
    const runs = all('alone', 4);
    await begun('alone', 4);
    await letGo('alone');
    const ended = await runs;
    assert.equal(boots(ended).size, 4);
    for (const ran of ended) assert.equal(ran.result.most, 1);
  },
  async 'a time-out of one loses no other\'s result'() {
    // It tells when half of its time is over, so that those who come then have as much left when it is cut.
    await hold('patient', 4, { timeout: 12000, first: 'if (p.hang) { setTimeout(tell, 6000); return new Promise(() => {}); }' });
    const hanging = run('patient', { hang: true });
    await begun('patient', 1);
    const others = Promise.all([1, 2].map((i) => run('patient', { i })));
    await begun('patient', 3);
    const hung = await hanging;
    await letGo('patient');
    assert.deepEqual(hung.result, { error: 'The action exceeded its time limits of 12000 milliseconds.' });
    const ended = await others;
    assert.deepEqual(ended.map((ran) => [ran.status, ran.result.error, ran.result.i]), [['success', undefined, 1], ['success', undefined, 2]]);
    assert.equal(boots(ended).size, 1);
    const next = await run('patient', { i: 3 });
    assert.notEqual(next.result.boot, ended[0].result.boot, 'an instance in which one timed out gets no other');
  },
  async 'an exception of one loses no other\'s result'() {
    await hold('thrower', 4, { first: 'if (p.throws) throw new Error("boom"); if (p.tells) return { boot };' });
    const first = await run('thrower', { tells: true });
    const others = Promise.all([1, 2].map((i) => run('thrower', { i })));
    await begun('thrower', 2);
    const threw = await run('thrower', { throws: true });
    await letGo('thrower');
    assert.deepEqual([threw.status, threw.result.error], ['action developer error', 'An error has occurred: Error: boom']);
    const ended = await others;
    assert.deepEqual(ended.map((ran) => [ran.result.boot, ran.result.i]), [[first.result.boot, 1], [first.result.boot, 2]]);
    assert.notEqual((await run('thrower', { tells: true })).result.boot, first.result.boot);
  },
  async 'the end of the process is the end of all in it'() {
    const code = 'const inside = []; function main(p) { return new Promise((resolve) => { inside.push(1); if (inside.length === p.n) process.exit(1); }) }';
    await put('exits', code, limits(3));
    for (const ran of await all('exits', 3)) {
      assert.deepEqual(ran.result, { error: 'The action did not produce a valid response and exited unexpectedly.' });
    }
  },
  async 'those who wait for a failing initialization share its failure'() {
    await put('broken', 'throw new Error("at load")', limits(4));
    for (const ran of await all('broken', 4)) {
      assert.equal(ran.status, 'action developer error');
      assert.match(ran.result.error, /^Initialization has failed due to: Error: at load/);
    }
  },
  async 'other runtimes work on one at a time'() {
    const code = 'import time\ninside = 0\ndef main(args):\n    global inside\n    inside += 1\n    time.sleep(0.05)\n    seen = inside\n    inside -= 1\n    return {"seen": seen}';
    await put('pyalone', { kind: 'python:default', code }, limits(8));
    for (const ran of await all('pyalone', 4)) assert.equal(ran.result.seen, 1);
  },
  async 'asynchronous ones overlap too'() {
    const ids = await Promise.all(Array.from({ length: 8 }, async (_, i) => (await send('POST', 'actions/meeting', { i, n: 8 })).json.activationId));
    const stored = await Promise.all(ids.map(record));
    assert.equal(new Set(stored.map((one) => one.response.result.boot)).size, 1);
  },
});
