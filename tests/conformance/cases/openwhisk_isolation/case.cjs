// Another namespace's key opens nothing of this one, except what is shared.
'use strict';

const { assert, annotation, cases, expect, put, send, NAMESPACE } = require('../../kit/whisk.cjs');

const other = { auth: process.env.OW_OTHER_AUTH };
const path = (rest) => `/api/v1/namespaces/${NAMESPACE}/${rest}`;

cases({
  async 'nothing is seen from outside'() {
    await put('secret', 'function main(p) { return p }');
    await expect('PUT', 'triggers/secrettrigger', {}, 200);
    await expect('PUT', 'packages/private', {}, 200);
    await expect('PUT', 'actions/private/act', { exec: { kind: 'nodejs:default', code: 'function main(p) { return p }' } }, 200);
    for (const rest of ['actions', 'actions/secret', 'actions/nothing', 'triggers', 'triggers/secrettrigger', 'rules', 'activations', 'packages/private', 'packages/nothing', 'actions/private/act', 'limits']) {
      await expect('GET', path(rest), undefined, 403, 'The supplied authentication is not authorized to access', other);
    }
    await expect('POST', path('actions/secret'), {}, 403, '', other);
    await expect('POST', path('actions/private/act'), {}, 403, '', other);
    await expect('PUT', path('actions/new'), { exec: { kind: 'nodejs:default', code: 'x' } }, 403, '', other);
    await expect('DELETE', path('actions/secret'), undefined, 403, '', other);
    await expect('POST', path('triggers/secrettrigger'), {}, 403, '', other);
    assert.deepEqual((await send('GET', path('packages'), undefined, other)).json, []);
    await expect('GET', 'actions/secret', undefined, 404, '', other);
    const ran = await send('POST', 'actions/secret?blocking=true', {});
    await expect('GET', `activations/${ran.json.activationId}`, undefined, 404, '', other);
    await expect('GET', `activations/${ran.json.activationId}`, undefined, 200);
    assert.deepEqual((await send('GET', 'activations', undefined, other)).json, []);
  },
  async 'shared packages run for their caller'() {
    await expect('PUT', 'packages/shared', { publish: true, parameters: [{ key: 'p', value: 1 }] }, 200);
    await expect('PUT', 'actions/shared/act', { exec: { kind: 'nodejs:default', code: 'function main(p) { return { p: p.p, ns: process.env.__OW_NAMESPACE } }' } }, 200);
    assert.deepEqual((await send('GET', path('packages'), undefined, other)).json.map((entry) => entry.name), ['shared']);
    await expect('GET', path('packages/shared'), undefined, 200, '', other);
    await expect('GET', path('actions/shared/act'), undefined, 200, '', other);
    const ran = await send('POST', `${path('actions/shared/act')}?blocking=true`, {}, other);
    assert.equal(ran.json.namespace, 'other');
    assert.deepEqual(ran.json.response.result, { p: 1, ns: 'other' });
    await expect('GET', `activations/${ran.json.activationId}`, undefined, 404);
    await expect('GET', `activations/${ran.json.activationId}`, undefined, 200, '', other);
    await expect('PUT', 'packages/mine', { binding: { namespace: NAMESPACE, name: 'shared' }, parameters: [{ key: 'p', value: 2 }] }, 200, '', other);
    const bound = await send('POST', 'actions/mine/act?blocking=true', {}, other);
    assert.deepEqual(bound.json.response.result, { p: 2, ns: 'other' });
    assert.equal(annotation(bound.json, 'path'), `${NAMESPACE}/shared/act`);
    await expect('PUT', 'packages/mine2', { binding: { namespace: NAMESPACE, name: 'private' } }, 403, '', other);
    await expect('PUT', 'packages/mine3', { binding: { namespace: NAMESPACE, name: 'nothing' } }, 403, '', other);
    await expect('PUT', path('actions/shared/new'), { exec: { kind: 'nodejs:default', code: 'x' } }, 403, '', other);
  },
});
