'use strict';

// What to do when the event loop runs empty. Node emits 'beforeExit' then; the
// one listener calls whatever was set last, so that a callback handler's
// response can wait for its pending work.

const nothing = () => {};
let listener = nothing;

module.exports = {
  invoke: () => listener(),
  set: (fn) => { listener = fn; },
  reset: () => { listener = nothing; },
};
