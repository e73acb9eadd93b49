// npm run test:real, or with a word of a server's name after `--`: 500 messages to real servers that defer, throttle and hang up. All must be accepted;
// how often the servers had to say no is printed beside what naive retry makes them say.

import { chmodSync, mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { ProviderPolicy } from 'steadymail'
import { install, Unavailable, unpackExim } from './debian.ts'
import { exim, postfix, postgrey, type RealServer } from './servers.ts'
import { MESSAGES, naively, type Result, steadily } from './trial.ts'

interface Case {
  readonly name: string
  /** Installs what it needs, once. @throws Unavailable */
  prepare(): void
  /** A server that has met nobody yet. */
  start(folder: string): Promise<RealServer[]>
  /** Waits on the scale of the server's spans. */
  readonly policy: Partial<ProviderPolicy>
}

const root = mkdtempSync(join(tmpdir(), 'steadymail-real-'))
chmodSync(root, 0o755) // the servers run as users of their own
const POSTFIX = { postfix: '/usr/sbin/postfix' }
let eximProgram: ReturnType<typeof unpackExim> | undefined

const cases: readonly Case[] = [
  {
    name: 'Postfix with postgrey: every recipient greylisted for 5 s',
    prepare: () => install({ ...POSTFIX, postgrey: '/usr/sbin/postgrey' }),
    async start(folder) {
      const grey = await postgrey(join(folder, 'grey'), 5)
      const server = await postfix(join(folder, 'postfix'), {
        smtpd_recipient_restrictions: `check_policy_service inet:127.0.0.1:${grey.port}, permit`,
      })
      return [server, grey]
    },
    policy: { rate: '50/s', reactions: { greylist: { retry: ['6s', '3s'] } } },
  },
  {
    name: 'Exim with a ratelimit ACL: 451 above 30 messages in 2 s, 421 above twice that',
    prepare: () => {
      eximProgram = unpackExim(root)
    },
    async start(folder) {
      if (!eximProgram) throw new Unavailable('Exim was not unpacked')
      return [await exim(folder, eximProgram, { count: 30, seconds: 2 })]
    },
    policy: { rate: '50/s', reactions: { 'rate-limit': { hold: '2s', holdMax: '4s', rateFactor: 0.7 } } },
  },
  {
    name: 'Postfix with 2 connections and 60 messages in 3 s per client',
    prepare: () => install(POSTFIX),
    async start(folder) {
      return [
        await postfix(folder, {
          smtpd_client_connection_count_limit: '2',
          smtpd_client_message_rate_limit: '60',
          anvil_rate_time_unit: '3s',
        }),
      ]
    },
    policy: {
      rate: '50/s',
      reactions: {
        concurrency: { hold: '500ms', holdMax: '2s', concurrencyFactor: 0.5 },
        'rate-limit': { hold: '2s', holdMax: '4s', rateFactor: 0.7 },
      },
    },
  },
]

const told = ({ accepted, refusals, seconds }: Result) =>
  `${String(accepted).padStart(3)} of ${MESSAGES} accepted, ${String(refusals).padStart(5)} refusals, ${seconds.toFixed(1)} s`

let failed = false
const [only = ''] = process.argv.slice(2)
for (const [i, one] of cases.entries()) {
  if (!one.name.toLowerCase().includes(only.toLowerCase())) continue
  console.log(one.name)
  const attempt = async (name: string, run: (port: number) => Promise<Result>) => {
    const servers = await one.start(join(root, `${i}-${name}`))
    try {
      const result = await run(servers[0]?.port ?? 0)
      console.log(`  ${name.padEnd(11)}${told(result)}`)
      return result
    } finally {
      for (const server of servers) await server.stop()
    }
  }
  try {
    one.prepare()
    const steady = await attempt('steadymail', (port) => steadily(port, one.policy, 90_000))
    if (steady.accepted !== MESSAGES) failed = true
    await attempt('naive', (port) => naively(port, 40_000))
  } catch (error) {
    if (!(error instanceof Unavailable)) throw error
    console.log(`  skipped: ${error.message}`)
  }
}
rmSync(root, { recursive: true, force: true })
if (failed) {
  console.log('not all messages were accepted')
  process.exitCode = 1
}
