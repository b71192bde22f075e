'use strict';

// Finds the function that a handler string names, such as "src/app.handler":
// the module src/app below the task root and its export "handler", which may
// be nested ("app.api.handler").

const fs = require('fs');
const Module = require('module');
const path = require('path');
const {
  ImportModuleError, HandlerNotFound, MalformedHandlerName, MalformedStreamingHandler,
  CallbackHandlerDeprecated, UserCodeSyntaxError,
} = require('./errors.js');
const { HttpResponseStream } = require('./stream.js');

const STREAMING = Symbol.for('aws.lambda.runtime.handler.streaming');
const HIGH_WATER_MARK = Symbol.for('aws.lambda.runtime.handler.streaming.highWaterMark');
const MAJOR = Number(process.versions.node.split('.')[0]);

/** Loads the handler. Its errors are those of the init phase. */
async function load(taskRoot, handler) {
  if (handler.includes('..')) {
    throw new MalformedHandlerName(
      `'${handler}' is not a valid handler name. Use absolute paths when specifying root directories in handler names.`);
  }
  const base = path.basename(handler);
  const directory = handler.slice(0, handler.indexOf(base));
  const dot = base.indexOf('.');
  if (dot < 0) throw new MalformedHandlerName('Bad handler');

  defineGlobals();
  searchNodePath(false);
  const loaded = await loadModule(taskRoot, directory, base.slice(0, dot));
  const names = base.slice(dot + 1).split('.');
  const find = (object) => names.reduce((value, name) => value && value[name], object);
  // A CommonJS module that was imported shows its exports as the default too.
  const found = find(loaded) ?? (loaded && loaded.default ? find(loaded.default) : undefined);
  if (!found) throw new HandlerNotFound(`${handler} is undefined or not exported`);
  if (typeof found !== 'function') throw new HandlerNotFound(`${handler} is not a function`);
  return found;
}

/** What the runtime must know of a handler before calling it. */
function describe(handler) {
  const mode = handler[STREAMING];
  if (mode !== undefined && mode !== null && mode !== false && mode !== 'response') {
    throw new MalformedStreamingHandler('Only response streaming is supported.');
  }
  const mark = parseInt(handler[HIGH_WATER_MARK], 10);
  const streaming = mode === 'response';
  if (MAJOR >= 24 && handler.length >= 3 && !streaming) {
    throw new CallbackHandlerDeprecated(
      'ERROR: AWS Lambda has removed support for callback-based function handlers starting with Node.js 24. ' +
      'You need to modify this function to use a supported handler signature to use Node.js 24 or later. ' +
      'For more information see https://docs.aws.amazon.com/lambda/latest/dg/nodejs-handler.html.');
  }
  return {
    streaming,
    highWaterMark: Number.isNaN(mark) ? undefined : mark,
    isAsync: handler.constructor?.name === 'AsyncFunction',
    // Callbacks and context.done, succeed and fail ended with Node.js 22.
    callbacks: MAJOR < 24,
  };
}

function defineGlobals() {
  const off = process.env.AWS_LAMBDA_NODEJS_NO_GLOBAL_AWSLAMBDA;
  if (off === '1' || off === 'true') return;
  globalThis.awslambda = {
    streamifyResponse: (handler, options) => {
      handler[STREAMING] = 'response';
      if (typeof options?.highWaterMark === 'number') handler[HIGH_WATER_MARK] = options.highWaterMark;
      return handler;
    },
    HttpResponseStream,
  };
}

async function loadModule(taskRoot, directory, name) {
  try {
    return await findModule(taskRoot, directory, name);
  } catch (error) {
    if (error instanceof SyntaxError) throw new UserCodeSyntaxError(error);
    if (error?.code === 'MODULE_NOT_FOUND') throw new ImportModuleError(error);
    throw error;
  }
}

async function findModule(taskRoot, directory, name) {
  const file = path.resolve(taskRoot, directory, name);
  const isModule = nearestPackageIsModule(path.dirname(file));
  const candidates = [
    ['', false], ['.js', isModule], ['.mjs', true], ['.cjs', false],
    ...(MAJOR >= 24 ? [['.ts', isModule], ['.mts', true], ['.cts', false]] : []),
  ];
  for (const [extension, esm] of candidates) {
    const candidate = file + extension;
    if (!isFile(candidate)) continue;
    if (!esm) return require(candidate);
    searchNodePath(true);
    return import(require('url').pathToFileURL(candidate).href);
  }
  // A package's name, or a directory with an index.js.
  return require(require.resolve(name, { paths: [taskRoot, path.resolve(taskRoot, directory)] }));
}

function isFile(file) {
  return fs.statSync(file, { throwIfNoEntry: false })?.isFile() ?? false;
}

// Whether .js files in folder are ES modules, by the nearest package.json.
function nearestPackageIsModule(folder) {
  for (; ; folder = path.dirname(folder)) {
    if (folder.endsWith('/node_modules')) return false;
    const manifest = path.join(folder, 'package.json');
    if (fs.existsSync(manifest)) {
      try {
        return JSON.parse(fs.readFileSync(manifest, 'utf8'))?.type === 'module';
      } catch (error) {
        console.warn(`${manifest} cannot be read, it will be ignored for ES module detection purposes.`, error);
        return false;
      }
    }
    if (folder === path.dirname(folder)) return false;
  }
}

let searching = false;

// Node looks packages up in NODE_PATH for require only. Lambda's runtimes do
// so for import too, which is how ES modules find packages of layers. Without
// a layer or bundled packages nothing is hooked, as hooks slow imports down;
// those of Node.js 20 run in a thread of their own, which takes so long to
// start that only a handler that is an ES module gets them.
function searchNodePath(esm) {
  if (searching || !(esm || Module.registerHooks)) return;
  const folders = Module.globalPaths.filter((p) => p.endsWith('/node_modules') && fs.existsSync(p));
  if (folders.length === 0) return;
  searching = true;
  if (Module.registerHooks) Module.registerHooks(require('./nodepath.js'));
  else Module.register(require('url').pathToFileURL(require.resolve('./nodepath-async.mjs')));
}

module.exports = { load, describe };
