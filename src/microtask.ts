// queueMicrotask as it was when the package was loaded, put in place of the global one by the build (tsup.config.ts):
// p-queue takes its next with it, and Jest's fake timers stop the global one.

export const { queueMicrotask } = globalThis
