// Every example as a reader would run it: a process of its own, in an empty folder, against a real SMTP server.

import { type ChildProcess, spawn } from 'node:child_process'
import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { type SmtpServer, type SmtpServerOptions, smtpServer } from 'steadymail/testing'
import { describe, expect, it, type TestContext } from 'vitest'
import { program } from './program.ts'

const root = fileURLToPath(new URL('..', import.meta.url))
const EXAMPLES = ['quickstart', 'durable', 'custom-policy', 'events', 'drop-in', 'graceful-shutdown']

interface Run {
  readonly server: SmtpServer
  readonly child: ChildProcess
  /** Resolves with the first line that fits. */
  line(pattern: RegExp): Promise<string>
  /** Resolves when the process has ended. */
  ended: Promise<{ readonly code: number | null; readonly out: string }>
}

async function run(
  { onTestFinished }: TestContext,
  name: string,
  smtp: SmtpServerOptions = {},
): Promise<Run> {
  const server = await smtpServer(smtp)
  const cwd = mkdtempSync(join(tmpdir(), 'steadymail-example-'))
  const child = spawn(process.execPath, [program(new URL(`../examples/${name}.ts`, import.meta.url))], {
    cwd,
    env: {
      ...process.env,
      SMTP_URL: server.url,
      PORT: '0',
    },
    stdio: ['ignore', 'pipe', 'pipe'],
  })
  onTestFinished(async () => {
    child.kill('SIGKILL')
    await server.close()
    rmSync(cwd, { recursive: true, force: true })
  })
  let out = ''
  const heard = new Set<() => void>()
  const hear = (piece: Buffer) => {
    out += piece.toString()
    for (const one of heard) one()
  }
  child.stdout?.on('data', hear)
  child.stderr?.on('data', hear)
  return {
    server,
    child,
    line: (pattern) =>
      new Promise((resolve) => {
        const look = () => {
          const line = out.split('\n').find((one) => pattern.test(one))
          if (line !== undefined) resolve(line)
        }
        heard.add(look)
        look()
      }),
    ended: new Promise((resolve) => child.once('close', (code) => resolve({ code, out }))),
  }
}

const recipients = (server: SmtpServer) => server.messages.flatMap((message) => message.to).sort()

describe.concurrent('examples', { timeout: 90_000 }, () => {
  it.each(EXAMPLES)('%s is under 40 lines', (name) => {
    expect(readFileSync(join(root, 'examples', `${name}.ts`), 'utf8').split('\n').length).toBeLessThan(41)
  })

  it('quickstart delivers one mail', async (context) => {
    const { server, ended } = await run(context, 'quickstart')
    const { code, out } = await ended
    expect(out).toMatch(/^\w+ is on disk; .*\naccepted - 250 2\.0\.0 Ok/)
    expect(code).toBe(0)
    expect(recipients(server)).toEqual(['ada@example.com'])
  })

  it('durable delivers once what another process took twice', async (context) => {
    const { server, ended } = await run(context, 'durable')
    const { code, out } = await ended
    expect(out).toBe('true true\ninvoice-7 accepted { invoice: 7 }\n')
    expect(code).toBe(0)
    expect(recipients(server)).toEqual(['ada@example.com'])
  })

  it('custom-policy shows what its rule and its limits make of it', async (context) => {
    const { server, ended } = await run(context, 'custom-policy')
    const { code, out } = await ended
    expect(out).toContain('rate-limit transient acme-slow-down 900000')
    expect(out).toMatch(/rate +20\/min +policy 'acme'/)
    expect(code).toBe(0)
    expect(recipients(server)).toEqual(['wile@acme.com'])
  })

  it('events tells what became of each recipient', async (context) => {
    const { server, ended } = await run(context, 'events', {
      script: { on: 'rcpt', to: 'nobody@example.com', answer: '550 5.1.1 User unknown' },
    })
    const { code, out } = await ended
    expect(out).toContain('ada@example.com: 250 2.0.0 Ok')
    expect(out).toContain('order-43 to nobody@example.com rejected: 550 5.1.1 User unknown')
    expect(out).toContain('order-43 ended: partial')
    expect(out).toContain('example.com open 0 waiting')
    expect(code).toBe(0)
    expect(recipients(server)).toEqual(['ada@example.com'])
  })

  it('drop-in sends through a nodemailer transporter', async (context) => {
    const { server, ended } = await run(context, 'drop-in')
    const { code, out } = await ended
    expect(out).toMatch(/^250 2\.0\.0 queued as \w+\naccepted\n$/)
    expect(code).toBe(0)
    expect(recipients(server)).toEqual(['ada@example.com'])
  })

  it('demo loses nothing, doubles nothing, and shows the lane held, probed and recovered', async (context) => {
    const { ended } = await run(context, 'demo')
    const { code, out } = await ended
    const told = out.split('\n').filter((line) => line.includes(' busy.test '))
    const states = told.map((line) => /HELD|probing|SLOW START|OPEN/.exec(line)?.[0]).filter(Boolean)
    expect(states.join(' ')).toMatch(/^(HELD probing )+SLOW START OPEN/)
    expect(out).toMatch(/nobody@strict\.test +failed \(rejected\) +1 +550/)
    expect(out).toMatch(/anyone@never\.test +failed \(expired\)/)
    expect(out).toContain('41 messages arrived, 0 were lost, 0 came twice, 0 have no outcome.')
    expect(code).toBe(0)
  })

  it('graceful-shutdown answers at once and ends at SIGTERM', async (context) => {
    const { server, child, line, ended } = await run(context, 'graceful-shutdown')
    const port = /port: (\d+)/.exec(await line(/listening/))?.[1]
    const post = (to: string) => fetch(`http://127.0.0.1:${port}/`, { method: 'POST', body: to })
    const accepted = await post('ada@example.com')
    expect([accepted.status, await accepted.text()]).toEqual([202, expect.stringMatching(/^\w+\n$/)])
    const refused = await post('not an address')
    expect(refused.status).toBe(400)
    await server.seen((seen) => seen.kind === 'message')
    child.kill('SIGTERM')
    expect((await ended).code).toBe(0)
    expect(recipients(server)).toEqual(['ada@example.com'])
  })
})
