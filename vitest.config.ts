import { fileURLToPath } from 'node:url'
import { defineConfig } from 'vitest/config'

const src = (name: string) => fileURLToPath(new URL(`./src/${name}.ts`, import.meta.url))

// another major than the newest, for test/matrix.ts
const major = process.env.STEADYMAIL_TEST_NODEMAILER

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
    testTimeout: 20_000,
    hookTimeout: 20_000,
    typecheck: { enabled: false },
  },
})
