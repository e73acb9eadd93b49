import { availableParallelism } from 'node:os'
import { fileURLToPath } from 'node:url'
import { defineConfig } from 'vitest/config'

const src = (name: string) => fileURLToPath(new URL(`./src/${name}.ts`, import.meta.url))

// another major than the newest, for test/matrix.ts
const major = process.env.STEADYMAIL_TEST_NODEMAILER

// servers of several addresses: all of 127.0.0.0/8 is loopback only on Linux
const elsewhere = process.platform === 'linux' ? [] : ['test/mx/**']
if (elsewhere.length > 0)
  console.log(`test/mx needs the loopback addresses of Linux: not run on ${process.platform}`)

export default defineConfig({
  resolve: {
    alias: [
      { find: /^steadymail\/(\w+)$/, replacement: `${src('$1')}` },
      { find: /^steadymail$/, replacement: src('index') },
      ...(major === undefined ? [] : [{ find: /^nodemailer$/, replacement: `nodemailer${major}` }]),
    ],
  },
  test: {
    include: ['test/**/*.test.ts'],
    exclude: ['**/node_modules/**', ...elsewhere],
    // each file begins with modules that others have loaded: none keeps anything of its tests, and to load them
    // anew takes a third of the time
    isolate: false,
    // they wait for sockets, files and processes most of the time
    maxWorkers: Math.max(2, availableParallelism() - 1),
    // a hang is told a little later; a busy machine compiles, writes and kills slowly
    testTimeout: 60_000,
    hookTimeout: 60_000,
    typecheck: { enabled: false },
  },
})
