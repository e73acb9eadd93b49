import { defineConfig } from 'tsup'

const shared = {
  format: ['esm', 'cjs'] as ('esm' | 'cjs')[],
  target: 'node20',
  removeNodeProtocol: false, // node:sqlite exists only with its prefix
  noExternal: ['p-queue'], // p-queue is ESM only: bundled so that CommonJS users can load it
  inject: ['src/microtask.ts'], // p-queue's, as clock.ts does with timers
}

export default defineConfig([
  {
    ...shared,
    entry: {
      index: 'src/index.ts',
      sqlite: 'src/sqlite.ts',
      bottleneck: 'src/bottleneck.ts',
      mx: 'src/mx.ts',
      testing: 'src/testing.ts',
    },
    dts: true,
    clean: true,
  },
  { ...shared, format: ['esm'], entry: { cli: 'src/cli.ts' }, dts: false, clean: false },
])
