// Invoking: blocking or not, results, time-outs, protected parameters, records. ActionsApiTests, WskActionTests.
'use strict';

const { assert, annotation, cases, expect, put, record, run, send, until, NAMESPACE } = require('../../kit/whisk.cjs');

const ECHO = 'function main(p) { return p }';

cases({
  async 'blocking answers are records'() {
    await put('echo', ECHO, { parameters: [{ key: 'a', value: 1 }] });
    const ran = await run('echo', { b: 2 });
    assert.equal(ran.http, 200);
    assert.equal(ran.headers.get('x-openwhisk-activation-id'), ran.record.activationId);
    assert.deepEqual(ran.record.logs, []);
    assert.deepEqual(ran.record.response.result, { a: 1, b: 2 });
    assert.deepEqual(Object.keys(ran.record).sort(), ['activationId', 'annotations', 'duration', 'end', 'logs', 'name', 'namespace', 'publish', 'response', 'start', 'subject', 'version']);
    assert.equal(annotation(ran.record, 'path'), `${NAMESPACE}/echo`);
    assert.equal(annotation(ran.record, 'timeout'), false);
    assert.equal(typeof annotation(ran.record, 'waitTime'), 'number');
    assert.equal(typeof annotation(ran.record, 'initTime'), 'number');
    assert.deepEqual(annotation(ran.record, 'limits'), { timeout: 60000, memory: 256, logs: 10, concurrency: 1 });
    const warm = await run('echo', {});
    assert.equal(annotation(warm.record, 'initTime'), undefined);
  },
  async 'results alone'() {
    const answer = await expect('POST', 'actions/echo?blocking=true&result=true', { b: 2 }, 200);
    assert.deepEqual(answer.json, { a: 1, b: 2 });
    await put('fails', 'function main() { return { error: { code: 7 } } }');
    const failed = await expect('POST', 'actions/fails?blocking=true&result=true', {}, 502);
    assert.deepEqual(failed.json, { error: { code: 7 } });
    await put('list', 'function main() { return [1, 2] }');
    assert.deepEqual((await expect('POST', 'actions/list?blocking=true&result=true', {}, 200)).json, [1, 2]);
    assert.deepEqual((await run('list')).result, [1, 2]);
  },
  async 'without waiting'() {
    for (const query of ['', '?result=true', '?blocking=false']) {
      const answer = await expect('POST', `actions/echo${query}`, { b: 3 }, 202);
      assert.deepEqual(Object.keys(answer.json), ['activationId']);
      const stored = await record(answer.json.activationId);
      assert.deepEqual(stored.response.result, { a: 1, b: 3 });
    }
  },
  async 'waiting for a time'() {
    await put('slow', 'function main() { return new Promise((r) => setTimeout(() => r({ done: true }), 1500)) }');
    const answer = await expect('POST', 'actions/slow?blocking=true&timeout=200', {}, 202);
    const stored = await record(answer.json.activationId);
    assert.deepEqual(stored.response.result, { done: true });
    for (const bad of ['0', '-1', '60001', 'x']) await expect('POST', `actions/slow?blocking=true&timeout=${bad}`, {}, 400, "The query parameter 'timeout' was malformed:");
    await expect('POST', 'actions/slow?blocking=true&timeout=60000', {}, 200);
  },
  async 'bodies'() {
    await expect('POST', 'actions/echo?blocking=true&result=true', undefined, 200, '{"a":1}');
    await expect('POST', 'actions/echo?blocking=true', '[1]', 400, 'The request content was malformed:', { headers: { 'content-type': 'application/json' } });
    await expect('POST', 'actions/echo?blocking=true', '{', 400, 'The request content was malformed:', { headers: { 'content-type': 'application/json' } });
    await expect('POST', 'actions/echo?blocking=x', {}, 400, "The query parameter 'blocking' was malformed:");
  },
  async 'protected parameters'() {
    await put('final', ECHO, { parameters: [{ key: 'x', value: 1 }, { key: 'empty', value: null }], annotations: [{ key: 'final', value: true }] });
    await expect('POST', 'actions/final?blocking=true', { x: 2 }, 400, 'Request defines parameters that are not allowed (e.g., reserved properties).');
    assert.deepEqual((await run('final', { empty: 5, y: 6 })).result, { x: 1, empty: 5, y: 6 });
  },
  async 'code can change, and parameters alone'() {
    await put('changes', 'function main() { return { v: 1 } }');
    assert.deepEqual((await run('changes')).result, { v: 1 });
    await put('changes', 'function main(p) { return { v: 2, p } }');
    assert.deepEqual((await run('changes')).result, { v: 2, p: {} });
    await expect('PUT', 'actions/changes?overwrite=true', { parameters: [{ key: 'q', value: 3 }] }, 200);
    assert.deepEqual((await run('changes')).result, { v: 2, p: { q: 3 } });
  },
  async 'several at once'() {
    await put('pause', 'function main(p) { return new Promise((r) => setTimeout(() => r(p), 300)) }');
    const all = await Promise.all(Array.from({ length: 8 }, (_, n) => run('pause', { n })));
    assert.deepEqual(all.map((ran) => ran.result.n), [0, 1, 2, 3, 4, 5, 6, 7]);
  },
  async 'logs are cut at their limit'() {
    await put('chatty', 'function main() { console.log("x".repeat(1000)); return {} }', { limits: { logs: 0 } });
    const ran = await run('chatty');
    const stored = await record(ran.record.activationId);
    assert.ok(stored.logs.at(-1).endsWith('Logs were truncated because the total bytes size exceeds the limit of 0 bytes.'), stored.logs.join('\n'));
  },
  async 'many results stay apart'() {
    const answers = await Promise.all(Array.from({ length: 20 }, (_, n) => send('POST', 'actions/echo', { n })));
    for (const [n, answer] of answers.entries()) {
      const stored = await record(answer.json.activationId);
      assert.equal(stored.response.result.n, n);
    }
    await until('their list', async () => (await expect('GET', 'activations?name=echo&count=true', undefined, 200)).json.activations >= 20);
  },
});
