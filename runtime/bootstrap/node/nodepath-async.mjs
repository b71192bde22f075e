// The hook of nodepath.js in the form that Node.js 20 takes.
import { fromNodePath } from './nodepath.js';

export async function resolve(specifier, context, nextResolve) {
  try {
    return await nextResolve(specifier, context);
  } catch (error) {
    return nextResolve(fromNodePath(specifier, context, error), context);
  }
}
