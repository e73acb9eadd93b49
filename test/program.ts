// Programs that tests run as processes of their own, each as one file that was made once: to start one through a
// compiler takes the better part of a second, and tests start hundreds.

import { mkdirSync, mkdtempSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { buildSync } from 'esbuild'

const ROOT = fileURLToPath(new URL('..', import.meta.url))

/** Another major than the newest, as vitest.config.ts has it. */
const major = process.env.STEADYMAIL_TEST_NODEMAILER
const nodemailer = `nodemailer${major ?? ''}`

const made = new Map<string, string>()
let folder: string | undefined

/** The file to run: below node_modules, so that it finds what is installed, until this process ends. */
export function program(source: URL): string {
  const path = fileURLToPath(source)
  let file = made.get(path)
  if (file !== undefined) return file
  if (folder === undefined) {
    const cache = join(ROOT, 'node_modules', '.cache')
    mkdirSync(cache, { recursive: true })
    const mine = mkdtempSync(join(cache, 'steadymail-'))
    process.once('exit', () => rmSync(mine, { recursive: true, force: true }))
    folder = mine
  }
  file = join(folder, `${made.size}.mjs`)
  buildSync({
    entryPoints: [path],
    tsconfig: join(ROOT, 'tsconfig.json'),
    bundle: true,
    platform: 'node',
    format: 'esm',
    ...(major === undefined ? {} : { alias: { nodemailer } }),
    external: [nodemailer, 'better-sqlite3', 'bottleneck', 'mx-connect'],
    outfile: file,
  })
  made.set(path, file)
  return file
}
