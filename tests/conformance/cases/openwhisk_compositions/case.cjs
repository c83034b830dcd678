// Sequences, conductors, and compositions of npm openwhisk-composer. SequenceApiTests, ConductorsApiTests.
'use strict';

const composer = require('openwhisk-composer');
const { assert, annotation, cases, expect, openwhisk, put, record, run, NAMESPACE } = require('../../kit/whisk.cjs');

const sequence = (...components) => ({ kind: 'sequence', components });
const ADD = 'function main(p) { return { n: p.n + (p.by || 1), seen: p.seen } }';

cases({
  async 'sequences are checked'() {
    await put('add', ADD, { parameters: [{ key: 'by', value: 10 }] });
    for (const [components, text] of [
      [[], 'No component specified for the sequence.'],
      [Array(51).fill('/_/add'), 'Too many actions in the sequence.'],
      [['/_/missing'], 'Sequence component does not exist.'],
      [['add'], ''],
    ]) {
      await expect('PUT', 'actions/seq', { exec: sequence(...components) }, 400, text);
    }
    const made = await put('seq', sequence('/_/add', '/_/add'));
    assert.deepEqual(made.exec.components, [`/${NAMESPACE}/add`, `/${NAMESPACE}/add`]);
    assert.deepEqual(made.parameters, [{ key: '_actions', value: [`/${NAMESPACE}/add`, `/${NAMESPACE}/add`] }]);
    await expect('PUT', 'actions/seq?overwrite=true', { exec: sequence('/_/seq') }, 400, 'Sequence may not refer to itself.');
    await put('outer', sequence('/_/seq'));
    await expect('PUT', 'actions/seq?overwrite=true', { exec: sequence('/_/outer') }, 400, 'Sequence may not refer to itself.');
    await put('wide', sequence(...Array(25).fill('/_/seq')));
    await expect('PUT', 'actions/wider', { exec: sequence('/_/wide', '/_/add') }, 400, 'Too many actions in the sequence.');
  },
  async 'sequences run'() {
    const ran = await run('seq', { n: 1 });
    assert.deepEqual(ran.result, { n: 21 });
    assert.equal(annotation(ran.record, 'kind'), 'sequence');
    assert.equal(annotation(ran.record, 'topmost'), true);
    const stored = await record(ran.record.activationId);
    assert.equal(stored.logs.length, 2);
    const parts = await Promise.all(stored.logs.map(record));
    for (const part of parts) {
      assert.equal(part.cause, ran.record.activationId);
      assert.equal(annotation(part, 'causedBy'), 'sequence');
    }
    assert.equal(stored.duration, parts[0].duration + parts[1].duration);
    const outer = await run('outer', { n: 0 });
    assert.deepEqual(outer.result, { n: 20 });
    const inner = await record((await record(outer.record.activationId)).logs[0]);
    assert.equal(annotation(inner, 'topmost'), false);
    assert.equal(inner.cause, outer.record.activationId);
  },
  async 'sequences stop at errors'() {
    await put('fail', 'function main(p) { return { error: "stop", n: 1 } }');
    await put('stops', sequence('/_/add', '/_/fail', '/_/add'));
    const ran = await run('stops', { n: 1 });
    assert.equal(ran.http, 502);
    assert.deepEqual(ran.result, { error: 'stop' });
    assert.equal(ran.status, 'application error');
    assert.equal((await record(ran.record.activationId)).logs.length, 2);
    await put('seen', 'function main(p) { return { got: p } }');
    await put('first', sequence('/_/seen'));
    assert.deepEqual((await run('first', { error: 'input' })).result, { got: { error: 'input' } });
    await put('array', 'function main(p) { return Array.isArray(p) ? { length: p.length } : [1, 2, 3] }');
    await put('arrays', sequence('/_/array', '/_/array'));
    assert.deepEqual((await run('arrays')).result, { length: 3 });
    await put('gone', ADD);
    await put('broken', sequence('/_/add', '/_/gone'));
    await expect('DELETE', 'actions/gone', undefined, 200);
    const broken = await run('broken', { n: 1 });
    assert.deepEqual(broken.result, { error: 'Sequence component does not exist.' });
    assert.equal(broken.status, 'application error');
  },
  async 'sequences become actions'() {
    await put('becomes', sequence('/_/add'));
    const action = await put('becomes', ADD);
    assert.deepEqual(action.parameters, []);
  },
  async 'conductors'() {
    const conductor = { annotations: [{ key: 'conductor', value: true }] };
    await put('two', 'function main(p) { const s = p.$step || 0; delete p.$step; return s < 2 ? { action: "/_/add", params: p, state: { $step: s + 1 } } : { params: p } }', conductor);
    const two = await run('two', { n: 1 });
    assert.deepEqual(two.result, { n: 21 });
    assert.equal(annotation(two.record, 'conductor'), true);
    assert.equal(annotation(two.record, 'kind'), 'sequence');
    assert.equal((await record(two.record.activationId)).logs.length, 5);
    await put('plain', 'function main(p) { return { just: "this" } }', conductor);
    assert.deepEqual((await run('plain')).result, { just: 'this' });
    const echo = 'function main(p) { return p.error ? { params: { told: p.error } } : { action: p.next } }';
    await put('asks', echo, conductor);
    assert.deepEqual((await run('asks', { next: 5 })).result, { told: 'Failed to parse action name from json value 5 during composition.' });
    assert.deepEqual((await run('asks', { next: 'missing' })).result, { told: "Failed to resolve action with name 'missing' during composition." });
    assert.deepEqual((await run('asks', { next: '/other.namespace/x' })).result, { told: "Failed entitlement check for action with name '/other.namespace/x' during composition." });
    await put('forever', 'function main(p) { return p.error ? { error: p.error } : { action: "/_/nested" } }', conductor);
    await put('nested', 'function main() { return {} }');
    const forever = await run('forever');
    assert.deepEqual(forever.result, { error: 'Too many actions in the composition.' });
  },
  async 'compositions of the composer'() {
    const ow = openwhisk();
    const deploy = async (name, composition) => {
      const compiled = composition.compile();
      const encoded = require('openwhisk-composer/conductor').generate({ name, ...compiled });
      await ow.actions.update(encoded.action ? { name, action: encoded.action, annotations: Object.fromEntries((encoded.annotations || []).map(({ key, value }) => [key, value])) } : encoded);
    };
    await put('inc', 'function main(p) { return { n: p.n + 1 } }');
    await put('double', 'function main(p) { return { n: p.n * 2 } }');
    await put('even', 'function main(p) { return { value: p.n % 2 === 0 } }');
    await put('below', 'function main(p) { return { value: p.n < 20 } }');
    await put('bad', 'function main() { return { error: "bad" } }');
    await put('recover', 'function main(p) { return { recovered: p.error } }');
    await deploy('c-seq', composer.sequence('inc', 'double'));
    assert.deepEqual((await run('c-seq', { n: 3 })).result, { n: 8 });
    await deploy('c-if', composer.if('even', 'double', 'inc'));
    assert.deepEqual((await run('c-if', { n: 4 })).result, { n: 8 });
    assert.deepEqual((await run('c-if', { n: 5 })).result, { n: 6 });
    await deploy('c-while', composer.while('below', 'double'));
    assert.deepEqual((await run('c-while', { n: 3 })).result, { n: 24 });
    await deploy('c-try', composer.try('bad', 'recover'));
    assert.deepEqual((await run('c-try', {})).result, { recovered: 'bad' });
  },
});
