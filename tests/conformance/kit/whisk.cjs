// What cases of OpenWhisk share: requests by hand, the npm client, and checks that say what differs.
'use strict';

const assert = require('node:assert/strict');
const openwhisk = require('openwhisk');

const HOST = process.env.OW_APIHOST;
const AUTH = process.env.OW_AUTH;
const NAMESPACE = process.env.OW_NAMESPACE;

function basic(auth) {
  return `Basic ${Buffer.from(auth).toString('base64')}`;
}

// One request; `auth` null leaves the credentials out, `body` that is no text is sent as JSON.
async function send(method, path, body, { auth = AUTH, headers = {} } = {}) {
  const all = { ...headers };
  if (auth !== null) all.authorization = basic(auth);
  let sent = body;
  if (body !== undefined && typeof body !== 'string' && !(body instanceof Uint8Array)) {
    sent = JSON.stringify(body);
    all['content-type'] ??= 'application/json';
  }
  const url = path.startsWith('/') ? HOST + path : `${HOST}/api/v1/namespaces/_/${path}`;
  const response = await fetch(url, { method, headers: all, body: sent, redirect: 'manual' });
  const bytes = Buffer.from(await response.arrayBuffer());
  const text = bytes.toString('utf8');
  let json;
  try { json = JSON.parse(text); } catch { json = undefined; }
  return { status: response.status, headers: response.headers, bytes, text, json };
}

// A request whose status, and text of an error, are known.
async function expect(method, path, body, status, part, options) {
  const answer = await send(method, path, body, options);
  assert.equal(answer.status, status, `${method} ${path}: ${answer.text.slice(0, 500)}`);
  if (part !== undefined) assert.ok(answer.text.includes(part), `${method} ${path}: ${answer.text.slice(0, 800)} lacks ${part}`);
  if (status >= 400 && answer.json && !answer.json.activationId && part !== undefined) {
    assert.equal(typeof answer.json.code, 'string', answer.text);
  }
  return answer;
}

async function put(name, exec, rest = {}) {
  const whole = typeof exec === 'string' ? { kind: 'nodejs:default', code: exec } : exec;
  return (await expect('PUT', `actions/${name}?overwrite=true`, { exec: whole, ...rest }, 200)).json;
}

// Invokes and gives status, record and result.
async function run(name, args = {}) {
  const answer = await send('POST', `actions/${name}?blocking=true`, args);
  assert.ok(answer.json && answer.json.response, `${name}: ${answer.status} ${answer.text.slice(0, 500)}`);
  return { http: answer.status, record: answer.json, status: answer.json.response.status, result: answer.json.response.result, headers: answer.headers };
}

// Waits for a state.
async function until(what, probe) {
  for (let i = 0; i < 600; i += 1) {
    const found = await probe();
    if (found) return found;
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
  throw new Error(`gave up waiting for ${what}`);
}

const record = (id) => until(`activation ${id}`, async () => {
  const answer = await send('GET', `activations/${id}`);
  return answer.status === 200 ? answer.json : undefined;
});

function annotation(entity, key) {
  return entity.annotations.find((entry) => entry.key === key)?.value;
}

// Runs the named parts in order.
async function cases(parts) {
  for (const [name, part] of Object.entries(parts)) {
    try {
      await part();
      console.log(`ok ${name}`);
    } catch (error) {
      console.log(`FAILED ${name}`);
      throw error;
    }
  }
}

module.exports = { HOST, AUTH, NAMESPACE, assert, basic, send, expect, put, run, until, record, annotation, cases, openwhisk };
