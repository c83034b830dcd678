// Finds the function to call in an action's code: a source text, evaluated so that its entry may be a local name, or a
// folder that `require` can load.
// Source: apache/openwhisk-runtime-nodejs (commit d7baea7), `runner.js`.
'use strict';

const fs = require('node:fs');
const path = require('node:path');
const { createRequire } = require('node:module');
const { pathToFileURL } = require('node:url');
const vm = require('node:vm');

const ROOT = '/action';
const NAME = /^[A-Za-z_$][\w$]*(\.[A-Za-z_$][\w$]*)*$/;

// A refusal of ours, told without a trace.
class Refusal extends Error {}

// There is no code at all.
class Missing extends Refusal {}

function checked(main, found) {
  if (typeof found !== 'function') {
    throw new Refusal(`Action entrypoint '${main}' is not a function.`);
  }
  return found;
}

function member(object, main) {
  return main.split('.').reduce((value, key) => (value === null || value === undefined ? undefined : value[key]), object);
}

function fromSource(code, main, file = path.join(ROOT, 'index.js')) {
  const module = { exports: {}, id: file, filename: file, loaded: false };
  // The name is looked up in the code's own scope, where declarations without an export are.
  const lookup = NAME.test(main) ? `typeof ${main.split('.')[0]} === 'undefined' ? undefined : ${main}` : 'undefined';
  const head = '(function (exports, require, module, __filename, __dirname) {';
  const compiled = vm.runInThisContext(`${head}${code}\nreturn ${lookup};\n})`, {
    filename: file,
    columnOffset: -head.length,
    importModuleDynamically: vm.constants?.USE_MAIN_CONTEXT_DEFAULT_LOADER,
  });
  const local = compiled.call(module.exports, module.exports, createRequire(file), module, file, ROOT);
  return checked(main, typeof local === 'function' ? local : member(module.exports, main));
}

async function fromFolder(main) {
  const named = ['.js', '.cjs', '.mjs'].map((end) => main.replace(/\.[^.]*$/, end)).find((file) => main.includes('.') && fs.existsSync(path.join(ROOT, file)));
  if (!named && !fs.existsSync(path.join(ROOT, 'package.json')) && !fs.existsSync(path.join(ROOT, 'index.js'))) {
    throw new Refusal('Zipped actions must contain either package.json or index.js at the root.');
  }
  process.chdir(ROOT);
  // `file.function` loads that file instead of the folder.
  let [where, name] = [ROOT, main];
  if (named) [where, name] = [path.join(ROOT, named), main.slice(main.lastIndexOf('.') + 1)];
  if (where !== ROOT) {
    // A file that exports nothing is a source like any other: its entry is a local name.
    const code = fs.readFileSync(where, 'utf8');
    if (!/\bexports?\b/.test(code)) return fromSource(code, name, where);
  }
  const require = createRequire(path.join(ROOT, 'index.js'));
  let loaded;
  try {
    loaded = require(where);
  } catch (error) {
    if (error.code !== 'ERR_REQUIRE_ESM' && error.code !== 'ERR_REQUIRE_ASYNC_MODULE') throw error;
    loaded = await import(pathToFileURL(require.resolve(where)).href);
  }
  const found = member(loaded, name);
  return checked(main, typeof found === 'function' ? found : member(loaded.default, name));
}

async function load({ main, form }) {
  if (form === 'archive') return fromFolder(main);
  if (form === 'file') {
    throw new Refusal('There was an error uncompressing the action archive: The file type is unsupported');
  }
  const code = form === 'source' ? fs.readFileSync(path.join(ROOT, 'exec'), 'utf8') : '';
  if (code === '') throw new Missing('Missing main/no code to execute.');
  return fromSource(code, main);
}

module.exports = { load, Missing, Refusal };
