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
  /** What differs from the built-in policy: waits on the scale of the server's spans, not of hours. */
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
    name: 'Exim with a ratelimit ACL: 451 above 300 messages a minute, 421 above twice that',
    prepare: () => {
      eximProgram = unpackExim(root)
    },
    async start(folder) {
      if (!eximProgram) throw new Unavailable('Exim was not unpacked')
      return [await exim(folder, eximProgram, { count: 300, seconds: 60 })]
    },
    policy: { rate: '20/s', reactions: { 'rate-limit': { hold: '10s', holdMax: '20s' } } },
  },
  {
    name: 'Postfix with 2 connections and 300 messages a minute per client',
    prepare: () => install(POSTFIX),
    async start(folder) {
      return [
        await postfix(folder, {
          smtpd_client_connection_count_limit: '2',
          smtpd_client_message_rate_limit: '300',
          anvil_rate_time_unit: '60s',
        }),
      ]
    },
    policy: {
      rate: '20/s',
      reactions: {
        concurrency: { hold: '1s', holdMax: '2s' },
        'rate-limit': { hold: '10s', holdMax: '20s' },
      },
    },
  },
]

const told = ({ accepted, refusals, seconds }: Result) =>
  `${String(accepted).padStart(3)} of ${MESSAGES} accepted, ${String(refusals).padStart(5)} refusals, ${seconds.toFixed(1)} s`

/** One way of sending, to servers of its own. */
async function attempt(one: Case, name: string, run: (port: number) => Promise<Result>): Promise<Result> {
  const servers = await one.start(join(root, `${cases.indexOf(one)}-${name}`))
  try {
    return await run(servers[0]?.port ?? 0)
  } finally {
    for (const server of servers) await server.stop()
  }
}

/** What to print. All run at a time: nearly all of it is waiting. */
async function judge(one: Case): Promise<{ readonly lines: readonly string[]; readonly failed: boolean }> {
  try {
    const [steady, naive] = await Promise.all([
      attempt(one, 'steadymail', (port) => steadily(port, one.policy, 220_000)),
      attempt(one, 'naive', (port) => naively(port, 100_000)),
    ])
    const lines = [`  steadymail ${told(steady)}`, `  naive      ${told(naive)}`]
    return { lines, failed: steady.accepted !== MESSAGES }
  } catch (error) {
    if (!(error instanceof Unavailable)) throw error
    return { lines: [`  skipped: ${error.message}`], failed: false }
  }
}

const [only = ''] = process.argv.slice(2)
const chosen = cases.filter(({ name }) => name.toLowerCase().includes(only.toLowerCase()))
const ready: { readonly one: Case; readonly verdict: ReturnType<typeof judge> }[] = []
for (const one of chosen) {
  try {
    one.prepare()
    ready.push({ one, verdict: judge(one) })
  } catch (error) {
    if (!(error instanceof Unavailable)) throw error
    console.log(`${one.name}\n  skipped: ${error.message}`)
  }
}
for (const { one, verdict } of ready) {
  const { lines, failed } = await verdict
  console.log([one.name, ...lines].join('\n'))
  if (failed) process.exitCode = 1
}
rmSync(root, { recursive: true, force: true })
if (process.exitCode === 1) console.log('not all messages were accepted')
