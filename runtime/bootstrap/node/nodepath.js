'use strict';

// A module resolution hook that looks in NODE_PATH for what import does not find.

const { createRequire } = require('module');
const { pathToFileURL } = require('url');

function fromNodePath(specifier, context, error) {
  const bare = !/^(\.{0,2}\/|[a-z]+:)/.test(specifier);
  if (error?.code !== 'ERR_MODULE_NOT_FOUND' || !bare || !context.parentURL?.startsWith('file:')) throw error;
  let file;
  try {
    file = createRequire(context.parentURL).resolve(specifier);
  } catch {
    throw error;
  }
  return pathToFileURL(file).href;
}

function resolve(specifier, context, nextResolve) {
  try {
    return nextResolve(specifier, context);
  } catch (error) {
    return nextResolve(fromNodePath(specifier, context, error), context);
  }
}

module.exports = { resolve, fromNodePath };
