// The JavaScript SDK, unmodified: create, invoke, stream, errors, waiters, pages, delete.
const assert = require("node:assert/strict");
const { execFileSync } = require("node:child_process");
const fs = require("node:fs");
const os = require("node:os");
const path = require("node:path");
const sdk = require("@aws-sdk/client-lambda");

const client = new sdk.LambdaClient({ maxAttempts: 1 });
const send = (command) => client.send(command);
const made = [];

function archive(files) {
  const folder = fs.mkdtempSync(path.join(os.tmpdir(), "sonagi-"));
  try {
    for (const [name, text] of Object.entries(files)) fs.writeFileSync(path.join(folder, name), text);
    execFileSync("python3", ["-m", "zipfile", "-c", "code.zip", ...Object.keys(files)], { cwd: folder });
    return fs.readFileSync(path.join(folder, "code.zip"));
  } finally {
    fs.rmSync(folder, { recursive: true });
  }
}

async function create(source, more = {}) {
  const FunctionName = `js-${process.pid}-${made.length}`;
  const answer = await send(new sdk.CreateFunctionCommand({
    FunctionName, Runtime: "nodejs20.x", Handler: "index.handler", Role: "arn:aws:iam::000000000000:role/r",
    Code: { ZipFile: archive({ "index.mjs": source }) }, ...more,
  }));
  made.push(FunctionName);
  return answer;
}

const tests = {
  async "create and invoke"() {
    const { FunctionName, State } = await create("export const handler = async (event) => ({ got: event });");
    assert.equal(State, "Active");
    await sdk.waitUntilFunctionActiveV2({ client, maxWaitTime: 30 }, { FunctionName });
    const answer = await send(new sdk.InvokeCommand({ FunctionName, Payload: JSON.stringify({ a: "é" }) }));
    assert.equal(answer.StatusCode, 200);
    assert.deepEqual(JSON.parse(Buffer.from(answer.Payload).toString()), { got: { a: "é" } });
  },
  async "log tail and function error"() {
    const { FunctionName } = await create("export const handler = async () => { console.log('seen'); throw new TypeError('no'); };");
    const answer = await send(new sdk.InvokeCommand({ FunctionName, LogType: "Tail" }));
    assert.equal(answer.FunctionError, "Unhandled");
    assert.equal(JSON.parse(Buffer.from(answer.Payload).toString()).errorType, "TypeError");
    assert.match(Buffer.from(answer.LogResult, "base64").toString(), /seen[\s\S]*REPORT RequestId/);
  },
  async "response stream"() {
    const { FunctionName } = await create(`export const handler = awslambda.streamifyResponse(async (event, stream) => {
      for (const part of ["a", "b", "c"]) { stream.write(part); await new Promise((done) => setTimeout(done, 60)); }
      stream.end();
    });`);
    const answer = await send(new sdk.InvokeWithResponseStreamCommand({ FunctionName }));
    const parts = [];
    let complete;
    for await (const event of answer.EventStream) {
      if (event.PayloadChunk) parts.push(Buffer.from(event.PayloadChunk.Payload).toString());
      if (event.InvokeComplete) complete = event.InvokeComplete;
    }
    assert.equal(parts.join(""), "abc");
    assert.ok(parts.length >= 3, `${parts.length} parts`);
    assert.equal(complete.ErrorCode, undefined);
  },
  async "errors have their names"() {
    await assert.rejects(send(new sdk.InvokeCommand({ FunctionName: "nothing" })), sdk.ResourceNotFoundException);
    const { FunctionName } = await create("export const handler = async () => 1;");
    await assert.rejects(create("x", { FunctionName }), sdk.ResourceConflictException);
    await send(new sdk.PutFunctionConcurrencyCommand({ FunctionName, ReservedConcurrentExecutions: 0 }));
    await assert.rejects(send(new sdk.InvokeCommand({ FunctionName })), (error) => {
      assert.ok(error instanceof sdk.TooManyRequestsException);
      assert.equal(error.Reason, "ReservedFunctionConcurrentInvocationLimitExceeded");
      return true;
    });
  },
  async "versions, alias, pages"() {
    const { FunctionName } = await create("export const handler = async (event, context) => context.functionVersion;");
    const { Version } = await send(new sdk.PublishVersionCommand({ FunctionName }));
    await send(new sdk.CreateAliasCommand({ FunctionName, Name: "live", FunctionVersion: Version }));
    const answer = await send(new sdk.InvokeCommand({ FunctionName, Qualifier: "live" }));
    assert.deepEqual([answer.ExecutedVersion, Buffer.from(answer.Payload).toString()], ["1", '"1"']);
    const names = [];
    for await (const page of sdk.paginateListFunctions({ client, pageSize: 2 }, {})) {
      names.push(...page.Functions.map((one) => one.FunctionName));
    }
    assert.ok(made.every((name) => names.includes(name)), names.join());
  },
};

(async () => {
  let failed = 0;
  for (const [name, test] of Object.entries(tests)) {
    try {
      await test();
      console.log(`ok     ${name}`);
    } catch (error) {
      failed += 1;
      console.log(`FAILED ${name}\n${error.stack}`);
    }
  }
  for (const FunctionName of made) await send(new sdk.DeleteFunctionCommand({ FunctionName })).catch(() => {});
  console.log(`${Object.keys(tests).length - failed} of ${Object.keys(tests).length} ok`);
  process.exitCode = failed ? 1 : 0;
})();
