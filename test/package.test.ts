// What `npm pack` makes, used as a user would: unpacked into a folder of its own, required, imported, compiled
// against, run. Needs `npm run build` first, as `npm test` does it.

import { execFile, execFileSync } from 'node:child_process'
import {
  accessSync,
  constants,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import { memoryStore, wrapTransport } from 'steadymail'
import ts from 'typescript'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'

const root = fileURLToPath(new URL('..', import.meta.url))
const manifest = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8'))
const run = promisify(execFile)
let home = ''
let files: string[] = []
const installed = (...path: string[]) => join(home, 'node_modules', ...path)

function link(name: string, as = name): void {
  mkdirSync(dirname(installed(as)), { recursive: true })
  rmSync(installed(as), { force: true })
  symlinkSync(join(root, 'node_modules', name), installed(as), 'junction')
}

beforeAll(() => {
  home = mkdtempSync(join(tmpdir(), 'steadymail-package-'))
  const packed = execFileSync('npm', ['pack', '--json', '--ignore-scripts', '--pack-destination', home], {
    cwd: root,
    encoding: 'utf8',
    stdio: ['ignore', 'pipe', 'ignore'],
    shell: process.platform === 'win32',
  })
  const [{ filename, files: listed }] = JSON.parse(packed)
  files = listed.map((file: { path: string }) => file.path).sort()
  mkdirSync(installed('steadymail'), { recursive: true })
  execFileSync('tar', [
    '-xzf',
    join(home, filename),
    '-C',
    installed('steadymail'),
    '--strip-components',
    '1',
  ])
  for (const name of ['nodemailer', 'better-sqlite3', 'bindings', 'file-uri-to-path']) link(name)
  for (const name of ['@types/node', 'undici-types']) link(name)
}, 60_000)

afterAll(() => rmSync(home, { recursive: true, force: true }))

/** Every file that the manifest points to. */
function targets(value: unknown): string[] {
  if (typeof value === 'string') return value.startsWith('./') ? [value.slice(2)] : []
  return typeof value === 'object' && value !== null ? Object.values(value).flatMap(targets) : []
}

describe('the package', () => {
  it('holds the build, the pages and nothing else', () => {
    const stray = files.filter(
      (file) =>
        !/^(README\.md|CHANGELOG\.md|LICENSE|package\.json|docs\/[\w-]+\.(md|svg)|examples\/[\w-]+(\/[\w-]+)?\.(ts|json))$/.test(
          file,
        ) && !/^dist\/[\w-]+\.(js|cjs|d\.ts|d\.cts)$/.test(file),
    )
    expect(stray).toEqual([])
    expect(files).toEqual(expect.arrayContaining(['README.md', 'CHANGELOG.md', 'LICENSE', 'docs/testing.md']))
  })

  it('holds every file that its manifest points to', () => {
    const { main, module, types, bin, exports } = manifest
    const missing = targets([main, module, types, bin, exports].map((each) => each)).filter(
      (file) => !files.includes(file),
    )
    expect(missing).toEqual([])
  })

  it('needs nodemailer and its optional peers, and brings the rest along', () => {
    const needed = files
      .filter((file) => /\.(js|cjs|d\.ts|d\.cts)$/.test(file))
      .flatMap(
        (file) =>
          ts.preProcessFile(readFileSync(installed('steadymail', file), 'utf8'), true, true).importedFiles,
      )
      .map(({ fileName }) => fileName)
      .filter((name) => !name.startsWith('.') && !name.startsWith('node:'))
    const peers = Object.keys(manifest.peerDependencies)
    expect(
      [...new Set(needed)].filter(
        (name) => !peers.some((peer) => name === peer || name.startsWith(`${peer}/`)),
      ),
    ).toEqual([])
    expect(needed).toContain('nodemailer')
    expect(manifest.dependencies).toBeUndefined()
  })

  it('says its version in one voice', () => {
    const mailer = wrapTransport('smtp://localhost', { store: memoryStore() })
    expect(mailer.transport().version).toBe(manifest.version)
    expect(readFileSync(join(root, 'CHANGELOG.md'), 'utf8')).toContain(manifest.version)
  })
})

const BODY = `
  const { SteadymailError, memoryStore, wrapTransport } = steadymail
  const transport = testing.scriptedTransport(['421 4.7.0 Try later'])
  const clock = testing.manualClock()
  const mailer = wrapTransport(transport, { store: memoryStore(), clock })
  const ticket = await mailer.sendWithRetry({ from: 'a@b.test', to: 'c@d.test', text: 'Hello' })
  const outcome = await clock.runUntil(ticket.settled())
  await mailer.close()
  const durable = wrapTransport(nodemailer.createTransport({ host: '127.0.0.1', port: 1 }), {
    store: sqlite.sqliteStore('outbox-' + FORMAT + '.db'),
    deliver: false,
  })
  await durable.sendWithRetry({ from: 'a@b.test', to: 'c@d.test', text: 'Hello' })
  const { waiting } = await durable.health()
  await durable.close()
  let refused
  try { bottleneck.bottleneckGate({}) } catch (error) { refused = SteadymailError.is(error) && error.code }
  const { cause } = steadymail.classifyReply('452 4.2.2 Mailbox full')
  console.log(JSON.stringify([outcome.status, outcome.recipients[0].tries, waiting, refused, cause, typeof mx.mxTransport]))
`
const SAID = '["accepted",2,1,"BAD_OPTION","mailbox-full","function"]\n'
const PARTS = {
  steadymail: 'steadymail',
  sqlite: 'steadymail/sqlite',
  testing: 'steadymail/testing',
  bottleneck: 'steadymail/bottleneck',
  mx: 'steadymail/mx',
  nodemailer: 'nodemailer',
}

describe('a user', () => {
  it('imports it from an ES module', async () => {
    const imports = Object.entries(PARTS).map(
      ([name, from]) => `import ${name === 'nodemailer' ? name : `* as ${name}`} from '${from}'`,
    )
    writeFileSync(join(home, 'use.mjs'), `${imports.join('\n')}\nconst FORMAT = 'esm'\n${BODY}`)
    const { stdout } = await run(process.execPath, ['use.mjs'], { cwd: home })
    expect(stdout).toBe(SAID)
  })

  it('requires it from CommonJS', async () => {
    const requires = Object.entries(PARTS).map(([name, from]) => `const ${name} = require('${from}')`)
    writeFileSync(
      join(home, 'use.cjs'),
      `${requires.join('\n')}\nconst FORMAT = 'cjs'\nasync function main() {${BODY}}\nmain()\n`,
    )
    const { stdout } = await run(process.execPath, ['use.cjs'], { cwd: home })
    expect(stdout).toBe(SAID)
  })

  // what Jest's fake timers do, for whoever sends more than the intake takes at a time, and closes
  it('stops the clock in a test, and mail goes on', async () => {
    writeFileSync(
      join(home, 'stopped.mjs'),
      `import { memoryStore, wrapTransport } from 'steadymail'
      import { scriptedTransport } from 'steadymail/testing'
      for (const name of ['setTimeout', 'setInterval', 'setImmediate', 'queueMicrotask']) globalThis[name] = () => {}
      Date.now = () => 0
      const transport = scriptedTransport()
      const mailer = wrapTransport(transport, { store: memoryStore() })
      const mail = (n) => ({ from: 'a@b.test', to: 'c@d' + n + '.test', text: 'Hello' })
      const tickets = await Promise.all(Array.from({ length: 300 }, (_, n) => mailer.sendWithRetry(mail(n))))
      await Promise.all(tickets.map((ticket) => ticket.settled()))
      await mailer.close()
      console.log(transport.attempts.length)`,
    )
    const { stdout } = await run(process.execPath, ['stopped.mjs'], { cwd: home })
    expect(stdout).toBe('300\n')
  })

  it('runs its bin', async () => {
    const bin = installed('steadymail', 'dist', 'cli.js')
    accessSync(bin, constants.X_OK)
    const { stdout } = await run(bin, ['explain', '550 5.1.1 User unknown'])
    expect(stdout).toContain('recipient-unknown')
  })

  const OWN = `
import { memoryStore, type Outcome, type ProviderPolicy, SteadymailError, type Ticket, wrapTransport } from 'steadymail'
import { bottleneckGate } from 'steadymail/bottleneck'
import { mxTransport } from 'steadymail/mx'
import { sqliteStore } from 'steadymail/sqlite'
import { manualClock, scriptedTransport, smtpServer, storeContract } from 'steadymail/testing'

const acme = { name: 'acme', domains: ['acme.test'], rate: '20/min' } satisfies ProviderPolicy
const own = wrapTransport({ sendMail: async (mail: { readonly to: string }) => mail.to }, {
  store: sqliteStore('outbox.db'),
  policies: [acme],
  clock: manualClock(),
  onSettled: async (outcome: Outcome) => outcome.recipients[0]?.reply?.text,
})
export const ticket: Promise<Ticket> = own.sendWithRetry({ to: 'a@b.test' }, { key: 'k', ttl: '2d' })
// @ts-expect-error the mail type is the transporter's
export const wrong = own.sendWithRetry({ too: 'a@b.test' })
// @ts-expect-error no unit
wrapTransport('smtp://localhost', { store: memoryStore(), ttl: '5' })
export const scripted = wrapTransport(scriptedTransport(), { store: memoryStore() })
export const direct = wrapTransport(mxTransport({ name: 'mail.example.org' }), { store: memoryStore() })
export const used = [SteadymailError, bottleneckGate, smtpServer, storeContract]
`
  const WITH_NODEMAILER = `
import nodemailer, { type SendMailOptions } from 'nodemailer'
const typed = wrapTransport(nodemailer.createTransport('smtp://localhost'), { store: memoryStore() })
export const options: Parameters<typeof typed.sendWithRetry>[0] = {} satisfies SendMailOptions
// @ts-expect-error no such field
typed.sendWithRetry({ subjekt: 'Hi' })
const info = async () => (await nodemailer.createTransport(typed.transport()).sendMail({})).ticket
export const found: () => Promise<Ticket> = info
`

  function complaints(names: readonly string[], options: ts.CompilerOptions): string[] {
    const program = ts.createProgram(
      names.map((name) => join(home, name)),
      {
        strict: true,
        exactOptionalPropertyTypes: true,
        noEmit: true,
        target: ts.ScriptTarget.ES2022,
        lib: ['lib.es2023.d.ts', 'lib.esnext.disposable.d.ts'],
        types: ['node'],
        ...options,
      },
    )
    return ts.getPreEmitDiagnostics(program).map((one) => {
      const where = one.file === undefined ? '' : `${one.file.fileName.slice(home.length)}: `
      return where + ts.flattenDiagnosticMessageText(one.messageText, '\n')
    })
  }

  it('compiles against it in both module formats, with the types of nodemailer 10', () => {
    for (const name of ['typed.mts', 'typed.cts']) writeFileSync(join(home, name), OWN + WITH_NODEMAILER)
    const module = ts.ModuleKind.Node16
    // nodemailer's own types need not pass our settings: skipLibCheck, as most users have it
    expect(complaints(['typed.mts', 'typed.cts'], { module, skipLibCheck: true })).toEqual([])
  })

  it('compiles against it without types of nodemailer, and with every declaration checked', () => {
    link('nodemailer9', 'nodemailer') // brings no types
    for (const name of ['own.mts', 'own.cts']) writeFileSync(join(home, name), OWN)
    expect(complaints(['own.mts', 'own.cts'], { module: ts.ModuleKind.Node16 })).toEqual([])
    writeFileSync(join(home, 'own.ts'), OWN)
    const bundler = { module: ts.ModuleKind.ESNext, moduleResolution: ts.ModuleResolutionKind.Bundler }
    expect(complaints(['own.ts'], bundler)).toEqual([])
    link('nodemailer')
  })
})
