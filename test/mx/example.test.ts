// examples/direct.ts as a reader would run it, in an internet of its own.

import { spawn } from 'node:child_process'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { expect, it } from 'vitest'
import { program } from '../program.ts'
import { a } from './dns-server.ts'
import { world } from './world.ts'

it('examples/direct.ts delivers to the recipient’s own server, and warns of a missing PTR record', async () => {
  const w = await world()
  const server = await w.server('mx.acme.test', '127.0.6.1')
  w.domain('acme.test', 'mx.acme.test')
  w.dns.zone.set('mail.us.test', [a('192.0.2.7')])
  const cwd = mkdtempSync(join(tmpdir(), 'steadymail-direct-'))
  const child = spawn(
    process.execPath,
    [program(new URL('../../examples/direct.ts', import.meta.url)), 'ada@acme.test'],
    {
      cwd,
      env: {
        ...process.env,
        MAIL_NAME: 'mail.us.test',
        MAIL_PORT: String(w.port),
        MAIL_DNS: w.dns.address,
      },
      stdio: ['ignore', 'pipe', 'pipe'],
    },
  )
  let out = ''
  for (const stream of [child.stdout, child.stderr]) stream.on('data', (piece) => (out += String(piece)))
  const code = await new Promise((resolve) => child.on('close', resolve))
  rmSync(cwd, { recursive: true, force: true })
  expect(out).toMatch(/warning: The PTR record of 192\.0\.2\.7 does not exist/)
  expect(out).toMatch(/ada@acme\.test: accepted by mx\.acme\.test: 250/)
  expect(code).toBe(0)
  expect(server.messages.map(({ to, from }) => [from, to])).toEqual([['hello@us.test', ['ada@acme.test']]])
  await w.close()
})
