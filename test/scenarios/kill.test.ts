// A process is killed in the middle of its work, and another goes on: nothing is lost.

import { spawn } from 'node:child_process'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createTransport } from 'nodemailer'
import { wrapTransport } from 'steadymail'
import { sqliteStore } from 'steadymail/sqlite'
import { manualClock, smtpServer } from 'steadymail/testing'
import { expect, it, onTestFinished } from 'vitest'
import { program } from '../program.ts'
import { runner } from './world.ts'

const MESSAGES = 500
const KILLED_AT = 200

it('SIGKILL in the middle of 500 messages over SQLite: none is lost, only those in flight may come twice', async () => {
  const folder = mkdtempSync(join(tmpdir(), 'steadymail-kill-'))
  const file = join(folder, 'outbox.db')
  let kill: () => void = () => undefined
  let taken = 0
  const server = await smtpServer({
    script: (event) => {
      if (event.phase === 'dot' && ++taken === KILLED_AT) kill()
      return undefined
    },
  })
  onTestFinished(async () => {
    await server.close()
    rmSync(folder, { recursive: true, force: true })
  })

  const stored = new Set<string>()
  await new Promise<void>((resolve) => {
    const child = spawn(
      process.execPath,
      [
        program(new URL('./fixtures/sender.ts', import.meta.url)),
        file,
        String(server.port),
        String(MESSAGES),
      ],
      { stdio: ['ignore', 'pipe', 'inherit'] },
    )
    kill = () => child.kill('SIGKILL')
    let rest = ''
    child.stdout.on('data', (chunk: Buffer) => {
      const lines = (rest + chunk.toString()).split('\n')
      rest = lines.pop() ?? ''
      for (const line of lines) stored.add(line.replace('stored ', ''))
    })
    child.on('close', () => resolve())
  })
  const before = server.messages.length
  expect(stored.size).toBeGreaterThan(0)
  expect(before).toBeGreaterThanOrEqual(KILLED_AT)
  expect(before).toBeLessThan(MESSAGES)

  const clock = manualClock({ start: Date.now() })
  const transporter = createTransport({
    host: server.host,
    port: server.port,
    ignoreTLS: true,
    pool: true,
  } as never)
  const uncertain: string[] = []
  const mailer = wrapTransport(transporter, {
    store: sqliteStore(file),
    clock,
    on: { uncertain: (e) => uncertain.push(e.recipient.address) },
  })
  const { run } = runner(clock, mailer)
  await mailer.start()
  await run(mailer.idle())

  const statuses = await mailer.list({ limit: 2 * MESSAGES })
  const recipients = statuses.flatMap((s) => s.recipients)
  const copies = new Map<string, number>()
  for (const { to } of server.messages) copies.set(to[0] ?? '', (copies.get(to[0] ?? '') ?? 0) + 1)

  expect(
    [...stored].filter((to) => !copies.has(to)),
    'lost',
  ).toEqual([])
  expect(recipients.filter((r) => r.state !== 'accepted')).toEqual([])
  expect(recipients.map((r) => r.address).sort()).toEqual([...copies.keys()].sort())
  const marked = recipients.filter((r) => r.uncertain).map((r) => r.address)
  const twice = [...copies].filter(([, n]) => n > 1).map(([to]) => to)
  // a pool is given three messages ahead for each of its connections: what is under way is at most four times as many
  expect(marked.length, 'at most four times as many as connections').toBeLessThanOrEqual(20)
  expect(marked).toEqual(expect.arrayContaining(twice))
  expect(uncertain.sort()).toEqual(marked.sort())
  expect(Math.max(...copies.values())).toBeLessThanOrEqual(2)
  await mailer.close({ timeout: 0 })
  transporter.close()
  console.log(
    `killed after ${before} of ${stored.size} stored: ${copies.size} arrived, ${marked.length} were in flight, ${twice.length} came twice`,
  )
})
