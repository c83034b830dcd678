'use strict';
// Finds the handler that `_HANDLER` names: `[FOLDER/]MODULE.EXPORT[.PROPERTY…]`.
// Order and errors are those of AWS's runtime interface clients for Node (aws-lambda-ric 3.2.1 and 4.0.2, read for facts).

const fs = require('fs');
const path = require('path');

const errors = () => require('./errors.cjs');

async function load(root, name) {
  if (name.includes('..')) {
    const text = `'${name}' is not a valid handler name. Use absolute paths when specifying root directories in handler names.`;
    throw errors().make('MalformedHandlerName', text);
  }
  const base = path.basename(name);
  const folder = name.slice(0, name.indexOf(base)).replace(/\/$/, '');
  const match = /^([^.]*)\.(.*)$/.exec(base);
  if (match === null) throw errors().make('MalformedHandlerName', 'Bad handler');
  const [, moduleName, exported] = match;
  let loaded;
  try {
    loaded = await loadModule(root, folder, moduleName);
  } catch (error) {
    if (error instanceof SyntaxError) throw errors().make('UserCodeSyntaxError', String(error), error);
    if (error?.code === 'MODULE_NOT_FOUND') throw errors().make('ImportModuleError', String(error));
    throw error;
  }
  const handler = find(loaded, exported) ?? find(loaded?.default, exported);
  if (!handler) throw errors().make('HandlerNotFound', `${name} is undefined or not exported`);
  if (typeof handler !== 'function') throw errors().make('HandlerNotFound', `${name} is not a function`);
  return handler;
}

const find = (object, names) => names.split('.').reduce((nested, key) => nested && nested[key], object);

async function loadModule(root, folder, moduleName) {
  const file = path.resolve(root, folder, moduleName);
  if (isFile(file)) return require(file);
  if (isFile(`${file}.js`)) {
    return inModulePackage(path.dirname(file)) ? importFile(`${file}.js`) : require(`${file}.js`);
  }
  if (isFile(`${file}.mjs`)) return importFile(`${file}.mjs`);
  if (isFile(`${file}.cjs`)) return require(`${file}.cjs`);
  return require(require.resolve(moduleName, { paths: [root, path.join(root, folder)] }));
}

function isFile(file) {
  return fs.statSync(file, { throwIfNoEntry: false })?.isFile() === true;
}

function importFile(file) {
  return import(require('url').pathToFileURL(file).href);
}

// Whether the nearest package.json says that `.js` files are ES modules.
function inModulePackage(folder) {
  while (!folder.endsWith('/node_modules')) {
    const file = path.join(folder, 'package.json');
    if (isFile(file)) {
      try {
        return JSON.parse(fs.readFileSync(file, 'utf8'))?.type === 'module';
      } catch (error) {
        console.warn(`${file} cannot be read, it will be ignored for ES module detection purposes.`, error);
        return false;
      }
    }
    if (folder === '/') return false;
    folder = path.dirname(folder);
  }
  return false;
}

module.exports = { load };
