// What actions see, and how their answers are classed: BasicActionRunnerTests, and the per-language table.
'use strict';

const { assert, cases, put, run, record, send } = require('../../kit/whisk.cjs');

const python = (code) => ({ kind: 'python:default', code });

async function ends(name, status, result, args) {
  const ran = await run(name, args);
  assert.equal(ran.status, status, JSON.stringify(ran.record));
  if (result !== undefined) assert.deepEqual(ran.result, result);
  assert.equal(ran.http, status === 'success' ? 200 : 502);
  return ran;
}

async function logs(ran) {
  const stored = await record(ran.record.activationId);
  return stored.logs;
}

const DEVELOPER = 'action developer error';
const APPLICATION = 'application error';
const INVALID = 'The action did not produce a valid JSON or JSON Array response: ';

cases({
  async 'node echoes objects, unicode, arrays'() {
    await put('echo', 'function main(p) { console.log("stdout: " + p.d); console.error("stderr: " + p.d); return p; }');
    for (const value of [{ d: 'a' }, { d: '❄ ☃ ❄' }, { d: [1, { x: null }] }]) {
      const ran = await ends('echo', 'success', value, value);
      const lines = await logs(ran);
      assert.ok(lines.some((line) => /^\S+Z +stdout: stdout: /.test(line)), lines.join('\n'));
      assert.ok(lines.some((line) => /^\S+Z +stderr: stderr: /.test(line)), lines.join('\n'));
      assert.ok(!lines.some((line) => line.includes('XXX_THE_END')));
    }
  },
  async 'python echoes objects and unicode'() {
    await put('pyecho', python('import sys\ndef main(args):\n    print("out", args["d"])\n    print("err", args["d"], file=sys.stderr)\n    return args'));
    for (const value of [{ d: 'a' }, { d: '❄ ☃ ❄' }]) {
      const ran = await ends('pyecho', 'success', value, value);
      const lines = await logs(ran);
      assert.ok(lines.some((line) => line.endsWith(`stdout: out ${value.d}`)), lines.join('\n'));
      assert.ok(lines.some((line) => line.endsWith(`stderr: err ${value.d}`)), lines.join('\n'));
    }
  },
  async 'entry points by name'() {
    await put('niam', { kind: 'nodejs:default', code: 'function niam() { return { a: 1 } }', main: 'niam' });
    await ends('niam', 'success', { a: 1 });
    await put('exported', { kind: 'nodejs:default', code: 'exports.other = async () => ({ a: 2 })', main: 'other' });
    await ends('exported', 'success', { a: 2 });
    await put('arrow', 'const main = (p) => new Promise((r) => setTimeout(() => r({ a: 3 }), 10))');
    await ends('arrow', 'success', { a: 3 });
    await put('pyniam', { ...python('def niam(args):\n    return {"a": 4}'), main: 'niam' });
    await ends('pyniam', 'success', { a: 4 });
  },
  async 'variables of the context'() {
    const names = ['NAMESPACE', 'ACTION_NAME', 'ACTION_VERSION', 'ACTIVATION_ID', 'DEADLINE', 'API_KEY', 'API_HOST', 'TRANSACTION_ID'];
    await put('env', `const at = process.env.__OW_ACTION_NAME; function main() { const e = {at}; for (const n of ${JSON.stringify(names)}) e[n] = process.env['__OW_' + n]; return e; }`, { annotations: [{ key: 'provide-api-key', value: true }] });
    const ran = await ends('env', 'success');
    assert.equal(ran.result.at, `/${process.env.OW_NAMESPACE}/env`);
    assert.equal(ran.result.ACTION_NAME, `/${process.env.OW_NAMESPACE}/env`);
    assert.equal(ran.result.NAMESPACE, process.env.OW_NAMESPACE);
    assert.equal(ran.result.ACTIVATION_ID, ran.record.activationId);
    assert.equal(ran.result.API_KEY, process.env.OW_AUTH);
    assert.match(ran.result.API_HOST, /^http/);
    assert.ok(Number(ran.result.DEADLINE) > Date.now());
    await put('nokey', 'function main() { return { key: process.env.__OW_API_KEY || null } }');
    await ends('nokey', 'success', { key: null });
  },
  async 'init parameters are variables'() {
    const parameters = [{ key: 'SOME_VAR', value: 'x', init: true }, { key: 'ANOTHER', value: { a: [1] }, init: true }, { key: 'plain', value: 1 }];
    const exec = { kind: 'nodejs:default', code: 'const v = process.env.SOME_VAR; function main(p) { return { v, another: process.env.ANOTHER, p } }' };
    await put('initenv', exec, { parameters });
    await ends('initenv', 'success', { v: 'x', another: '{"a":[1]}', p: { plain: 1 } });
    const pyexec = python('import os\nv = os.environ["SOME_VAR"]\ndef main(args):\n    return {"v": v, "p": args}');
    await put('pyinitenv', pyexec, { parameters });
    await ends('pyinitenv', 'success', { v: 'x', p: { plain: 1 } });
  },
  async 'answers of node are classed'() {
    const table = [
      ['return {}', 'success', {}],
      ['', 'success', {}],
      ['return [1, 2]', 'success', [1, 2]],
      ['return { error: "x", more: 1 }', APPLICATION, { error: 'x' }],
      ['return null', DEVELOPER, { error: `${INVALID}null` }],
      ['return "text"', DEVELOPER, { error: 'The action did not return a dictionary.' }],
      ['return 5', DEVELOPER, { error: 'The action did not return a dictionary.' }],
      ['throw new Error("boom")', DEVELOPER, { error: 'An error has occurred: Error: boom' }],
      ['return Promise.reject({ code: 5 })', APPLICATION, { error: { code: 5 } }],
      ['return Promise.reject()', APPLICATION, { error: {} }],
      ['process.exit(3)', DEVELOPER, { error: 'The action did not produce a valid response and exited unexpectedly.' }],
      ['const c = {}; c.c = c; return c', DEVELOPER, { error: 'The action did not produce a valid response and exited unexpectedly.' }],
    ];
    for (const [body, status, result] of table) {
      await put('classed', `function main() { ${body} }`);
      await ends('classed', status, result);
    }
    await put('classed', 'async function main() { throw new Error("nope") }');
    const ran = await ends('classed', APPLICATION);
    assert.equal(ran.result.error.name, 'Error');
    assert.equal(ran.result.error.message, 'nope');
  },
  async 'answers of python are classed'() {
    const table = [
      ['return {}', 'success', {}],
      ['return [1]', 'success', [1]],
      ['return {"error": 7, "more": 1}', APPLICATION, { error: 7 }],
      ['raise Exception("boom")', APPLICATION, { error: 'boom' }],
      ['return None', DEVELOPER, { error: `${INVALID}null` }],
      ['return "text"', DEVELOPER, { error: 'The action did not return a dictionary or array.' }],
      ['return {"a": object()}', DEVELOPER, { error: 'command exited' }],
      ['import os; os._exit(1)', DEVELOPER, { error: 'command exited' }],
    ];
    for (const [body, status, result] of table) {
      await put('pyclassed', python(`def main(args):\n    ${body}`));
      await ends('pyclassed', status, result);
    }
  },
  async 'instances live on after application errors, and end after developer errors'() {
    await put('counts', 'let n = 0; function main(p) { n += 1; if (p.fail === "app") return { error: n }; if (p.fail === "dev") throw new Error("x"); return { n } }');
    await ends('counts', 'success', { n: 1 });
    await ends('counts', APPLICATION, { error: 2 }, { fail: 'app' });
    await ends('counts', 'success', { n: 3 });
    await ends('counts', DEVELOPER, undefined, { fail: 'dev' });
    await ends('counts', 'success', { n: 1 });
  },
  async 'failed initializations say why'() {
    await put('broken', 'function main( {');
    let ran = await ends('broken', DEVELOPER);
    assert.match(ran.result.error, /^Initialization has failed due to: .*SyntaxError/s);
    await put('broken', 'throw new Error("at load"); function main() {}');
    ran = await ends('broken', DEVELOPER);
    assert.match(ran.result.error, /^Initialization has failed due to: Error: at load/);
    await put('broken', 'const x = 1;');
    ran = await ends('broken', DEVELOPER);
    assert.match(ran.result.error, /Action entrypoint 'main' is not a function/);
    await put('pybroken', python('def main(:'));
    await ends('pybroken', DEVELOPER, { error: 'The action failed to generate or locate a binary. See logs for details.' });
    await put('pybroken', python('raise Exception("at load")'));
    ran = await ends('pybroken', DEVELOPER, { error: 'Cannot start action. Check logs for details.' });
    const lines = await logs(ran);
    assert.ok(lines.some((line) => line.includes('at load')), lines.join('\n'));
    assert.ok(lines.at(-1).endsWith('stderr: The action did not initialize or run as expected. Log data might be missing.'));
    await put('empty', { kind: 'nodejs:default', code: '' });
    await ends('empty', DEVELOPER, { error: 'Missing main/no code to execute.' });
  },
  async 'time limits'() {
    // Long enough for a start on a busy machine.
    const limits = { timeout: 2500 };
    await put('slow', 'function main() { return new Promise(() => setInterval(() => {}, 1000)) }', { limits });
    let ran = await ends('slow', DEVELOPER, { error: 'The action exceeded its time limits of 2500 milliseconds.' });
    assert.equal(ran.record.annotations.find((a) => a.key === 'timeout').value, true);
    await put('slowinit', 'while (true) {} function main() {}', { limits });
    await ends('slowinit', DEVELOPER, { error: 'The action exceeded its time limits of 2500 milliseconds during initialization.' });
    await put('pyslow', python('import time\ndef main(args):\n    time.sleep(30)'), { limits });
    ran = await ends('pyslow', DEVELOPER, { error: 'The action exceeded its time limits of 2500 milliseconds.' });
    assert.ok(ran.record.duration >= 2500 && ran.record.duration < 30000, String(ran.record.duration));
  },
  async 'memory limits'() {
    await put('hog', python('def main(args):\n    x = []\n    while True:\n        x.append(bytearray(1 << 20))'), { limits: { memory: 128 } });
    await ends('hog', DEVELOPER, { error: 'The action exhausted its memory and was aborted.' });
  },
  async 'large results are cut'() {
    await put('large', 'function main(p) { return { a: "x".repeat(p.n) } }');
    const fits = await ends('large', 'success', undefined, { n: 1048561 - 100 });
    assert.equal(fits.result.a.length, 1048461);
    const cut = await ends('large', APPLICATION, undefined, { n: 1200000 });
    assert.match(cut.result.error, /^The action produced a response that exceeded the allowed length: 1200008 > 1048576 bytes\. The truncated response was: \{"a":"xxx/);
  },
  async 'archives'() {
    const zip = require('../../kit/zip.cjs');
    const node = zip({ 'package.json': '{"main": "lib/start.js"}', 'lib/start.js': 'exports.main = (p) => ({ from: require("./other.js").name, p, cwd: process.cwd() }); exports.second = () => ({ second: true })', 'lib/other.js': 'exports.name = "other"' });
    await put('zipped', { kind: 'nodejs:default', code: node });
    const ran = await ends('zipped', 'success', undefined, { a: 1 });
    assert.equal(ran.result.from, 'other');
    await put('zipped', { kind: 'nodejs:default', code: node, main: 'second' });
    await ends('zipped', 'success', { second: true });
    const shown = await send('GET', 'actions/zipped');
    assert.equal(shown.json.exec.binary, true);
    assert.equal(shown.json.exec.code, node);
    await put('zipped', { kind: 'nodejs:default', code: zip({ 'x.js': '' }) });
    assert.match((await ends('zipped', DEVELOPER)).result.error, /Zipped actions must contain either package\.json or index\.js at the root\./);
    const py = zip({ '__main__.py': 'import helper\ndef main(args):\n    return {"h": helper.h}', 'helper.py': 'h = 5' });
    await put('pyzipped', { kind: 'python:default', code: py });
    await ends('pyzipped', 'success', { h: 5 });
    await put('pyzipped', { kind: 'python:default', code: zip({ 'x.py': '' }) });
    await ends('pyzipped', DEVELOPER, { error: 'The action failed to generate or locate a binary. See logs for details.' });
  },
  async 'executables speak the action loop'() {
    const script = '#!/bin/sh\necho "started in $PWD"\nwhile read line; do echo "got a line"; echo "{\\"name\\": \\"$__OW_ACTION_NAME\\", \\"path\\": \\"$HOME\\"}" >&3; done\n';
    await put('loop', { kind: 'actionloop:default', code: script });
    const ran = await ends('loop', 'success', { name: `/${process.env.OW_NAMESPACE}/loop`, path: '' });
    await ends('loop', 'success');
    assert.ok((await logs(ran)).some((line) => line.endsWith('stdout: got a line')));
    await put('loop', { kind: 'actionloop:default', code: '#!/bin/sh\nread line; exit 1\n' });
    await ends('loop', DEVELOPER, { error: 'command exited' });
    await put('loop', { kind: 'actionloop:default', code: '#!/bin/sh\nread line; echo 5 >&3; read line\n' });
    await ends('loop', DEVELOPER, { error: 'The action did not return a dictionary or array.' });
    await put('loop', { kind: 'actionloop:default', code: '#!/bin/sh\nexit 1\n' });
    // By how soon it is seen to have ended.
    const ended = await ends('loop', DEVELOPER);
    assert.match(ended.result.error, /^(Cannot start action\. Check logs for details\.|command exited)$/);
  },
  async 'blackbox images are refused when they are run'() {
    await put('black', { kind: 'blackbox', image: 'example/image' });
    const ran = await ends('black', DEVELOPER);
    assert.match(ran.result.error, /image/);
  },
  async 'node actions have packages'() {
    await put('bundled', 'function main() { return { ow: typeof require("openwhisk"), uuid: require("uuid").v4().length } }');
    await ends('bundled', 'success', { ow: 'function', uuid: 36 });
  },
  async 'actions reach the platform'() {
    await put('target', 'function main(p) { return { got: p.a } }');
    const annotations = [{ key: 'provide-api-key', value: true }];
    await put('caller', 'const openwhisk = require("openwhisk"); function main() { return openwhisk().actions.invoke({ name: "target", blocking: true, result: true, params: { a: "b" } }) }', { annotations });
    await ends('caller', 'success', { got: 'b' });
    const code = 'import base64, json, os, urllib.request\ndef main(args):\n    url = os.environ["__OW_API_HOST"] + "/api/v1/namespaces/_/actions/target?blocking=true&result=true"\n    auth = base64.b64encode(os.environ["__OW_API_KEY"].encode()).decode()\n    request = urllib.request.Request(url, b"{\\"a\\": \\"c\\"}", {"authorization": "Basic " + auth, "content-type": "application/json"})\n    return json.load(urllib.request.urlopen(request))';
    await put('pycaller', python(code), { annotations });
    await ends('pycaller', 'success', { got: 'c' });
  },
});
