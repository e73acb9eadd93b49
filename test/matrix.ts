// npm run test:matrix: the suite on every Node and over every nodemailer that is supported, one line for each.
// Newer Nodes come from npm (what its package `node` installs) into a scratch folder, where the checkout stands
// without better-sqlite3, so that node:sqlite is what runs. The suites that are about nodemailer itself cover
// every major in any one run; here everything else that goes through it runs over each.
//   npm run test:matrix               everything
//   npm run test:matrix -- newer      only what `npm test` on this machine has not run already

import { spawn } from 'node:child_process'
import { cpSync, mkdirSync, mkdtempSync, readdirSync, rmSync, symlinkSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'

const ROOT = fileURLToPath(new URL('..', import.meta.url))
const NEWER = ['22', '24'] as const
const OLDER_MAJORS = ['7', '8', '9'] as const
/** What goes through a whole mailer and a real nodemailer. */
const OVER_NODEMAILER = ['test/scenarios', 'test/mailer.test.ts', 'test/chaos/chaos.test.ts']
const LONGEST_MS = 10 * 60_000

interface Ran {
  readonly code: number | null
  readonly output: string
}

function run(
  command: string,
  args: readonly string[],
  cwd: string,
  env: NodeJS.ProcessEnv = {},
): Promise<Ran> {
  return new Promise((resolve) => {
    const child = spawn(command, args, {
      cwd,
      env: { ...process.env, NO_COLOR: '1', ...env },
      stdio: ['ignore', 'pipe', 'pipe'],
      timeout: LONGEST_MS,
    })
    let output = ''
    for (const stream of [child.stdout, child.stderr]) {
      stream.on('data', (chunk: Buffer) => {
        output += chunk.toString()
      })
    }
    child.on('error', (error) => resolve({ code: null, output: String(error) }))
    child.on('close', (code) => resolve({ code, output }))
  })
}

/** The checkout in a folder of its own, with links to what is installed, except for better-sqlite3. */
function scratchCheckout(scratch: string): string {
  const root = join(scratch, 'checkout')
  mkdirSync(join(root, 'node_modules'), { recursive: true })
  for (const name of readdirSync(ROOT)) {
    if (name === 'node_modules' || name.startsWith('.')) continue
    cpSync(join(ROOT, name), join(root, name), { recursive: true })
  }
  for (const name of readdirSync(join(ROOT, 'node_modules'))) {
    if (name === 'better-sqlite3' || name === '.cache') continue
    symlinkSync(join(ROOT, 'node_modules', name), join(root, 'node_modules', name))
  }
  return root
}

/** The binary of the newest Node of that major; a text where it cannot be had. */
async function nodeOf(
  major: string,
  scratch: string,
): Promise<{ readonly node: string } | { readonly why: string }> {
  const folder = join(scratch, `node-${major}`)
  const name = `node-${process.platform}-${process.arch}`
  const args = ['install', '--prefix', folder, '--no-save', '--no-audit', '--no-fund', `${name}@${major}`]
  const { code, output } = await run('npm', args, scratch)
  const node = join(folder, 'node_modules', name, 'bin', 'node')
  if (code === 0) return { node }
  return {
    why:
      output
        .trim()
        .split('\n')
        .findLast((line) => line.includes('error')) ?? 'npm install failed',
  }
}

async function suite(
  name: string,
  node: string,
  cwd: string,
  files: readonly string[],
  env: NodeJS.ProcessEnv = {},
) {
  const vitest = join(ROOT, 'node_modules', 'vitest', 'vitest.mjs')
  const began = performance.now()
  const { code, output } = await run(node, [vitest, 'run', ...files], cwd, env)
  const seconds = Math.round((performance.now() - began) / 1_000)
  const tests = /^\s*Tests\s+(.*)$/m.exec(output)?.[1] ?? 'no tests ran'
  console.log(`${code === 0 ? 'ok    ' : 'FAILED'} ${name}: ${tests.trim()}, ${seconds} s`)
  if (code === 0) return true
  // why first: the rest is long, and only its end may be kept
  const why = /⎯ (?:Failed|Unhandled)/.exec(output)?.index ?? 0
  console.log(output.slice(why).slice(0, 10_000))
  console.log(output.slice(-5_000))
  return false
}

async function version(node: string): Promise<string> {
  return (await run(node, ['--version'], ROOT)).output.trim().slice(1)
}

const onlyNewer = process.argv[2] === 'newer'
const scratch = mkdtempSync(join(tmpdir(), 'steadymail-matrix-'))
let sound = true
try {
  if (!onlyNewer) {
    const driver = Number(process.versions.node.split('.')[0]) >= 22 ? 'node:sqlite' : 'better-sqlite3'
    sound = await suite(`Node ${process.versions.node}, ${driver}, nodemailer 10`, process.execPath, ROOT, [])
  }
  const checkout = scratchCheckout(scratch)
  for (const major of NEWER) {
    const found = await nodeOf(major, scratch)
    if ('why' in found) {
      console.log(`skipped Node ${major}: ${found.why}`)
      continue
    }
    const name = `Node ${await version(found.node)}, node:sqlite, nodemailer 10`
    // that node:sqlite is experimental is said on stderr, which some tests read
    const env = { NODE_NO_WARNINGS: '1' }
    sound = (await suite(name, found.node, checkout, [], env)) && sound
  }
  for (const major of OLDER_MAJORS) {
    const name = `Node ${process.versions.node}, nodemailer ${major}`
    const env = { STEADYMAIL_TEST_NODEMAILER: major }
    sound = (await suite(name, process.execPath, ROOT, OVER_NODEMAILER, env)) && sound
  }
} finally {
  rmSync(scratch, { recursive: true, force: true })
}
process.exitCode = sound ? 0 : 1
