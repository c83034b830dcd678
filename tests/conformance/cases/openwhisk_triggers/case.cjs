// Triggers, rules and the alarms feed. TriggersApiTests, RulesApiTests, WskRuleTests.
'use strict';

const { assert, annotation, cases, expect, openwhisk, put, record, until, NAMESPACE } = require('../../kit/whisk.cjs');

const ECHO = 'function main(p) { return p }';
const ran = async (name, count) => until(`${count} runs of ${name}`, async () => {
  const list = (await expect('GET', `activations?name=${name}&docs=true&limit=200`, undefined, 200)).json;
  return list.length >= count ? list : undefined;
});

cases({
  async 'triggers'() {
    const made = await expect('PUT', 'triggers/t', { parameters: [{ key: 'p', value: 'trigger' }, { key: 'q', value: 'trigger' }] }, 200);
    assert.deepEqual(made.json.limits, {});
    await expect('PUT', 'triggers/t', {}, 409);
    assert.equal((await expect('PUT', 'triggers/t?overwrite=true', {}, 200)).json.version, '0.0.2');
    await expect('PUT', 'triggers/feed', { annotations: [{ key: 'feed', value: '/whisk.system/alarms/alarm' }] }, 200);
    for (const feed of ['', 'a,b', '/']) {
      await expect('PUT', 'triggers/badfeed', { annotations: [{ key: 'feed', value: feed }] }, 400, 'Feed name is not valid');
    }
    await expect('POST', 'triggers/missing', {}, 404);
    assert.equal((await expect('POST', 'triggers/t', { a: 1 }, 204)).text, '');
  },
  async 'rules'() {
    await put('act', ECHO, { parameters: [{ key: 'p', value: 'action' }, { key: 'r', value: 'action' }] });
    await expect('PUT', 'rules/r', { trigger: '/_/nope', action: '/_/act' }, 400, `trigger /${NAMESPACE}/nope does not exist`);
    await expect('PUT', 'rules/r', { trigger: '/_/t', action: '/_/nope' }, 400, `action /${NAMESPACE}/nope does not exist`);
    await expect('PUT', 'rules/r', { trigger: 't', action: 'act' }, 400);
    const made = (await expect('PUT', 'rules/r', { trigger: '/_/t', action: '/_/act' }, 200)).json;
    assert.equal(made.status, 'active');
    assert.deepEqual(made.trigger, { path: NAMESPACE, name: 't' });
    assert.deepEqual(made.action, { path: NAMESPACE, name: 'act' });
    const trigger = (await expect('GET', 'triggers/t', undefined, 200)).json;
    assert.deepEqual(trigger.rules, { [`${NAMESPACE}/r`]: { action: { path: NAMESPACE, name: 'act' }, status: 'active' } });
  },
  async 'firing runs the actions of active rules'() {
    const fired = await expect('POST', 'triggers/t', { q: 'payload' }, 202, undefined, { headers: { 'x-test': 'yes' } });
    assert.equal(fired.headers.get('x-openwhisk-activation-id'), fired.json.activationId);
    const [one] = await ran('act', 1);
    const { __ow_headers: headers, ...rest } = one.response.result;
    assert.deepEqual(rest, { p: 'trigger', r: 'action', q: 'payload' });
    assert.equal(headers['x-test'], 'yes');
    assert.equal(one.cause, undefined);
    const stored = await record(fired.json.activationId);
    assert.equal(stored.end, undefined);
    assert.equal(stored.duration, undefined);
    assert.deepEqual(stored.response.result, { q: 'payload' });
    const line = JSON.parse(stored.logs[0]);
    assert.deepEqual({ ...line, activationId: '' }, { statusCode: 0, success: true, activationId: '', rule: `${NAMESPACE}/r`, action: `${NAMESPACE}/act` });
    assert.equal(line.activationId, one.activationId);
  },
  async 'rules are switched'() {
    for (const body of [{}, { status: 'x' }]) await expect('POST', 'rules/r', body, 400);
    assert.equal((await expect('POST', 'rules/r', { status: 'inactive' }, 200)).text, '');
    await expect('POST', 'rules/r', { status: 'inactive' }, 200);
    assert.equal((await expect('GET', 'rules/r', undefined, 200)).json.status, 'inactive');
    await expect('POST', 'triggers/t', {}, 204);
    await put('act2', ECHO);
    await expect('PUT', 'rules/r2', { trigger: { path: NAMESPACE, name: 't' }, action: { path: NAMESPACE, name: 'act2' } }, 200);
    const fired = await expect('POST', 'triggers/t', {}, 202);
    const stored = await record(fired.json.activationId);
    const lines = stored.logs.map((line) => JSON.parse(line));
    assert.equal(lines[0].error, `Rule '${NAMESPACE}/r' is inactive, action '${NAMESPACE}/act' was not activated.`);
    assert.equal(lines[0].success, false);
    assert.equal(lines[1].success, true);
    await expect('POST', 'rules/r', { status: 'active' }, 200);
  },
  async 'rules move and go'() {
    await expect('PUT', 'triggers/u', {}, 200);
    const moved = (await expect('PUT', 'rules/r?overwrite=true', { trigger: '/_/u' }, 200)).json;
    assert.equal(moved.version, '0.0.2');
    assert.equal(moved.trigger.name, 'u');
    assert.equal((await expect('GET', 'triggers/t', undefined, 200)).json.rules[`${NAMESPACE}/r`], undefined);
    await expect('DELETE', 'triggers/u', undefined, 200);
    assert.equal((await expect('GET', 'rules/r', undefined, 200)).json.status, 'inactive');
    await expect('POST', 'rules/r', { status: 'active' }, 404);
    assert.equal((await expect('DELETE', 'rules/r', undefined, 200)).json.status, 'inactive');
    assert.equal((await expect('DELETE', 'rules/r2', undefined, 200)).json.status, 'inactive');
  },
  async 'rules of packaged actions'() {
    await expect('PUT', 'packages/p', {}, 200);
    await expect('PUT', 'actions/p/act', { exec: { kind: 'nodejs:default', code: ECHO } }, 200);
    await expect('PUT', 'packages/b', { binding: { name: 'p' }, parameters: [{ key: 'from', value: 'binding' }] }, 200);
    await expect('PUT', 'rules/packaged', { trigger: '/_/t', action: `/${NAMESPACE}/b/act` }, 200);
    await expect('POST', 'triggers/t', {}, 202);
    const [one] = await ran('b/act', 1);
    assert.equal(one.response.result.from, 'binding');
    assert.equal(annotation(one, 'binding'), `${NAMESPACE}/b`);
  },
  async 'alarms'() {
    const ow = openwhisk();
    await put('ticked', ECHO);
    await ow.triggers.create({ name: 'tick', trigger: { annotations: [{ key: 'feed', value: '/whisk.system/alarms/alarm' }] } });
    await ow.rules.create({ name: 'ticks', trigger: 'tick', action: 'ticked' });
    const feedName = '/whisk.system/alarms/alarm';
    await assert.rejects(ow.feeds.create({ feedName, trigger: 'tick', params: { cron: 'never' } }));
    await ow.feeds.create({ feedName, trigger: 'tick', params: { cron: '* * * * * *', trigger_payload: { tick: 1 }, maxTriggers: 2 } });
    const shown = await ow.feeds.get({ feedName, trigger: 'tick' });
    assert.equal(shown.response.result.config.cron, '* * * * * *');
    const runs = await ran('ticked', 2);
    assert.deepEqual(runs.map((one) => one.response.result), [{ tick: 1 }, { tick: 1 }]);
    await ow.feeds.delete({ feedName, trigger: 'tick' });
    await assert.rejects(ow.feeds.get({ feedName, trigger: 'tick' }));
    await ow.feeds.create({ feedName: '/whisk.system/alarms/once', trigger: 'tick', params: { date: Date.now() + 4000, trigger_payload: { once: 1 } } });
    assert.equal((await ran('ticked', 3))[0].response.result.once, 1);
    await ow.feeds.create({ feedName: '/whisk.system/alarms/interval', trigger: 'tick', params: { minutes: 2 } });
    await ow.feeds.delete({ feedName: '/whisk.system/alarms/interval', trigger: 'tick' });
    const listed = (await expect('GET', '/api/v1/namespaces/whisk.system/packages', undefined, 200)).json;
    assert.equal(listed[0].name, 'alarms');
  },
});
