'use strict';
// Runs functions written for Fn's Node FDK, with the FDK itself, unmodified.
//
// Started with `stem` it boots first, before anybody knows whose function it will run: it loads the FDK, then waits on
// descriptor 3 to be told what to run: a length, then that many bytes, strings with a NUL after each (working directory,
// number of arguments, arguments, variables). Nothing of a tenant is here until then. From then on everything is as if
// `node SCRIPT` had been started for the function.

const fs = require('fs');
const Module = require('module');

const CHANNEL = 3;
const FDK = '/node_modules/@fnproject/fdk';

// So many bytes. Ends the process if there will be none.
function receive(count) {
  const data = Buffer.alloc(count);
  let have = 0;
  while (have < data.length) {
    const got = fs.readSync(CHANNEL, data, have, data.length - have, null);
    if (got === 0) process.exit(0);
    have += got;
  }
  return data;
}

// Takes over folder and variables of the function; its arguments.
function become() {
  const strings = receive(receive(4).readUInt32LE()).toString().split('\0');
  process.chdir(strings[0]);
  const count = 2 + Number(strings[1]);
  for (const name of Object.keys(process.env)) delete process.env[name];
  for (const variable of strings.slice(count, -1)) {
    const sign = variable.indexOf('=');
    process.env[variable.slice(0, sign)] = variable.slice(sign + 1);
  }
  return strings.slice(2, count);
}

// Loads what the FDK needs, and goes through one request, so that nothing is compiled for the first time later.
function preload(done) {
  try {
    require(FDK);
  } catch {
    // Not installed: a function that needs it brings it.
  }
  const http = require('http');
  const server = http.createServer((request, response) => {
    request.on('data', () => {}).on('end', () => {
      response.setHeader('Content-type', 'application/json');
      response.writeHead(200, 'OK');
      response.end('{}');
    });
  });
  const over = () => {
    server.close();
    done();
  };
  server.on('error', () => done());
  server.listen(0, '127.0.0.1', () => {
    const { port } = server.address();
    const request = http.request({ host: '127.0.0.1', port, method: 'POST', path: '/call', agent: false }, (answer) => {
      answer.on('data', () => {}).on('end', over);
    });
    request.on('error', over);
    request.end('{}');
  });
}

function run(all) {
  fs.closeSync(CHANNEL);
  fs.mkdirSync('/tmp/iofs', { recursive: true });
  process.argv = [process.argv[0], ...all];
  Module.runMain();
}

if (process.argv[2] === 'stem') {
  preload(() => {
    fs.writeSync(CHANNEL, 'R');
    // The program, its options and this file come first.
    const all = become();
    run(all.slice(all.indexOf(__filename) + 1));
  });
} else {
  run(process.argv.slice(2));
}
