// Several activations in one instance: `limits.concurrency`, for Node as upstream.
'use strict';

const { assert, cases, put, run, record, send } = require('../../kit/whisk.cjs');

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

// Waits until an activation of an action has ended.
async function ended(name) {
  for (let i = 0; i < 1200; i += 1) {
    const found = (await send('GET', `activations?name=${name}&docs=true`)).json.find((one) => one.end);
    if (found) return found;
    await new Promise((resolve) => setTimeout(resolve, 25));
  }
  throw new Error(`no activation of ${name} ended`);
}

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
    await put('pairs', MEETING, limits(2));
    const runs = await all('pairs', 6, { n: 2 });
    assert.equal(boots(runs).size, 3);
  },
  async 'the limit of one keeps them apart'() {
    const code = 'let inside = 0, most = 0; async function main() { inside += 1; most = Math.max(most, inside); await new Promise((r) => setTimeout(r, 20)); inside -= 1; return { most } }';
    await put('alone', code, limits(1));
    for (const ran of await all('alone', 4)) assert.equal(ran.result.most, 1);
  },
  async 'a time-out of one loses no other\'s result'() {
    const code = `
const boot = Math.random();
const openwhisk = require('openwhisk');
async function main(p) {
  if (p.hang) return new Promise(() => {});
  for (;;) {
    const over = await openwhisk().activations.list({ name: 'patient', docs: true });
    if (over.some((one) => one.response && !one.response.success)) return { boot, i: p.i };
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
}`;
    await put('patient', code, { ...limits(4, 4000), annotations: [{ key: 'provide-api-key', value: true }] });
    const hanging = run('patient', { hang: true });
    // Later than the one that hangs, so that they are under way when it is cut.
    await new Promise((resolve) => setTimeout(resolve, 1500));
    const others = await Promise.all([1, 2].map((i) => run('patient', { i })));
    const hung = await hanging;
    assert.deepEqual(hung.result, { error: 'The action exceeded its time limits of 4000 milliseconds.' });
    assert.deepEqual(others.map((ran) => [ran.status, ran.result.i]), [['success', 1], ['success', 2]]);
    assert.equal(boots(others).size, 1);
    const next = await run('patient', { i: 3 });
    assert.notEqual(next.result.boot, others[0].result.boot, 'an instance in which one timed out gets no other');
  },
  async 'an exception of one loses no other\'s result'() {
    const code = `
const boot = Math.random();
const waiting = [];
function main(p) {
  if (p.throws) { setTimeout(() => waiting.forEach((go) => go()), 50); throw new Error('boom'); }
  return new Promise((resolve) => { waiting.push(() => resolve({ boot, i: p.i })); if (p.last) resolve({ boot }); });
}`;
    await put('thrower', code, limits(4));
    const first = await run('thrower', { last: true });
    const others = [1, 2].map((i) => run('thrower', { i }));
    await new Promise((resolve) => setTimeout(resolve, 300));
    const threw = await run('thrower', { throws: true });
    assert.deepEqual([threw.status, threw.result.error], ['action developer error', 'An error has occurred: Error: boom']);
    const runs = await Promise.all(others);
    assert.deepEqual(runs.map((ran) => [ran.result.boot, ran.result.i]), [[first.result.boot, 1], [first.result.boot, 2]]);
    assert.notEqual((await run('thrower', { last: true })).result.boot, first.result.boot);
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
    await ended('meeting');
  },
});
