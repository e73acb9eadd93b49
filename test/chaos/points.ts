// The named points in the life of a message at which a process is killed, and one run for each: killed there,
// started again, run to its end, and audited against the server's log.

import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { type SmtpEvent, type SmtpPhase, smtpServer } from 'steadymail/testing'
import { audit, type Counts } from './fixtures/audit.ts'
import { type Child, start } from './fixtures/child.ts'
import type { ChaosPlan, StatementKill, StoreKill } from './fixtures/plan.ts'

export interface Point {
  readonly name: string
  /** The process kills itself at this call of its store. */
  readonly store?: StoreKill
  /** The process kills itself at this statement of its store. */
  readonly statement?: StatementKill
  /** It is killed when the server is here in the dialogue of its `nth` message. */
  readonly server?: { readonly phase: SmtpPhase; readonly taken?: boolean; readonly replied?: boolean }
  readonly plan?: Partial<ChaosPlan>
}

const claims = { having: 'claims' } as const
const settlements = { having: 'settlements' } as const
const LARGE = { messages: 6, size: 400_000 }

/** In the order of a message's life. */
export const POINTS: readonly Point[] = [
  { name: 'before the lease is taken', store: { verb: 'own', when: 'before' } },
  { name: 'after the lease is taken', store: { verb: 'own', when: 'answered' } },
  { name: 'before lanes are read', store: { verb: 'lanes', when: 'before' } },
  { name: 'before heads are read', store: { verb: 'heads', when: 'before' } },
  { name: 'before open claims are read', store: { verb: 'openClaims', when: 'before' } },
  { name: 'after open claims are read', store: { verb: 'openClaims', when: 'answered' } },
  { name: 'before a message is stored', store: { verb: 'add', when: 'before', nth: 5 } },
  { name: 'stored, before anybody hears of it', store: { verb: 'add', when: 'answered', nth: 5 } },
  { name: 'before a claim', store: { verb: 'turn', when: 'before', ...claims } },
  { name: 'claimed, before it is on disk', store: { verb: 'turn', when: 'answered', ...claims } },
  { name: 'claimed, on disk', store: { verb: 'turn', when: 'durable', ...claims } },
  { name: 'before the bytes are read', store: { verb: 'bytes', when: 'before', nth: 3 } },
  { name: 'after the bytes are read', store: { verb: 'bytes', when: 'answered', nth: 3 } },
  { name: 'at the greeting', server: { phase: 'greeting' } },
  { name: 'at EHLO', server: { phase: 'ehlo' } },
  { name: 'at MAIL', server: { phase: 'mail' } },
  { name: 'at RCPT', server: { phase: 'rcpt' } },
  { name: 'at DATA, before the body', server: { phase: 'data' } },
  { name: 'in the body', server: { phase: 'body' }, plan: LARGE },
  { name: 'after the dot, not taken', server: { phase: 'dot' } },
  { name: 'after the dot, taken, no reply', server: { phase: 'dot', taken: true } },
  { name: 'after the dot, taken and replied', server: { phase: 'dot', taken: true, replied: true } },
  { name: 'replied, before it is settled', store: { verb: 'turn', when: 'before', ...settlements } },
  { name: 'settled, before it is on disk', store: { verb: 'turn', when: 'answered', ...settlements } },
  { name: 'settled, on disk', store: { verb: 'turn', when: 'durable', ...settlements } },
  {
    name: 'before what turns said is folded into the tables',
    statement: { sql: 'INSERT INTO message (', when: 'before' },
  },
  { name: 'new mail written, not committed', statement: { sql: 'INSERT INTO fresh_bytes', when: 'after' } },
  { name: 'new mail written, committed', statement: { sql: 'INSERT INTO fresh_bytes', when: 'committed' } },
  { name: 'mail in the tables, not committed', statement: { sql: 'DELETE FROM fresh_bytes', when: 'after' } },
  { name: 'mail in the tables, committed', statement: { sql: 'DELETE FROM fresh_bytes', when: 'committed' } },
  { name: 'folded, not committed', statement: { sql: 'DELETE FROM turns', when: 'after' } },
  { name: 'folded, committed', statement: { sql: 'DELETE FROM turns', when: 'committed' } },
  {
    name: 'a later settlement',
    store: { verb: 'turn', when: 'before', ...settlements, nth: 4 },
    plan: { messages: 40 }, // several share a turn
  },
  { name: 'before the lease is renewed', store: { verb: 'renew', when: 'before' }, plan: { stretch: 1 } },
  { name: 'after the lease is renewed', store: { verb: 'renew', when: 'answered' }, plan: { stretch: 1 } },
  { name: 'before notices are read', store: { verb: 'notices', when: 'before' } },
  { name: 'after notices are read', store: { verb: 'notices', when: 'answered' } },
  {
    name: 'before outcomes are read for onSettled',
    store: { verb: 'outcomes', when: 'before', nth: 2 },
    plan: { onSettled: {} },
  },
  {
    name: 'onSettled called, not acknowledged',
    store: { verb: 'acknowledge', when: 'before' },
    plan: { onSettled: {} },
  },
  {
    name: 'onSettled acknowledged',
    store: { verb: 'acknowledge', when: 'answered' },
    plan: { onSettled: {} },
  },
  {
    name: 'before a cancellation',
    store: { verb: 'amend', when: 'before', nth: 2 },
    plan: { person: 'cancel' },
  },
  {
    name: 'after a cancellation',
    store: { verb: 'amend', when: 'answered', nth: 2 },
    plan: { person: 'cancel' },
  },
  {
    name: 'before what expired is claimed',
    store: { verb: 'claimExpired', when: 'before', nth: 2 },
    plan: { person: 'expire', factor: 2_000 },
  },
  {
    name: 'what expired is claimed, not ended',
    store: { verb: 'claimExpired', when: 'answered', having: 'answer' },
    plan: { person: 'expire', factor: 2_000 },
  },
  { name: 'before a purge', store: { verb: 'purge', when: 'before' }, plan: { person: 'purge' } },
  { name: 'after a purge', store: { verb: 'purge', when: 'answered' }, plan: { person: 'purge' } },
  { name: 'before the lease is given up', store: { verb: 'disown', when: 'before' } },
  { name: 'after the lease is given up', store: { verb: 'disown', when: 'answered' } },
  { name: 'before the file is closed', store: { verb: 'close', when: 'before' } },
]

const MESSAGES = 12
/** A pause of 15 minutes after a crash takes 4.5 s of the machine's. */
const FACTOR = 200

/** Kills at the point, starts again, lets it end, and audits. */
export async function runPoint(point: Point): Promise<Counts> {
  const folder = mkdtempSync(join(tmpdir(), 'steadymail-chaos-'))
  const file = join(folder, 'outbox.db')
  let victim: Child | undefined
  const server = await smtpServer({
    script: (event) => (isPoint(point, event) && victim !== undefined ? killAt(point, victim) : undefined),
  })
  try {
    const plan: ChaosPlan = {
      file,
      port: server.port,
      factor: FACTOR,
      epoch: Date.now(),
      name: 'the only one',
      messages: MESSAGES,
      ...point.plan,
    }
    const first = await start({
      ...plan,
      ...(point.store && { kill: point.store }),
      ...(point.statement && { killStatement: point.statement }),
    })
    victim = first
    const signal = await first.ended
    victim = undefined
    if (signal !== 'SIGKILL') throw new Error(`${point.name}: it was never reached`)
    const second = await start(plan)
    const code = await second.ended
    if (code !== 0) throw new Error(`${point.name}: the second process ended by ${code}`)
    const stored = [...first.said('stored'), ...second.said('stored')]
    const counts = await audit(file, stored, server, { purged: plan.person === 'purge' })
    counts.wrong.push(...handled(plan, [...first.said('settled'), ...second.said('settled')]))
    return counts
  } finally {
    victim?.kill()
    await server.close()
    rmSync(folder, { recursive: true, force: true })
  }
}

function isPoint({ server }: Point, event: SmtpEvent): boolean {
  if (server === undefined || event.phase !== server.phase) return false
  return event.phase !== 'body' || event.size > 100_000
}

function killAt({ server }: Point, victim: Child) {
  if (server?.replied === true) {
    // the reply is written before anything else happens here, and the kill follows it
    setImmediate(() => victim.kill())
    return undefined
  }
  victim.kill()
  return server?.taken === true ? ({ deliver: true, and: 'drop' } as const) : ('drop' as const)
}

/** Every message's outcome reached the handler, at least once. */
function handled(plan: ChaosPlan, settled: readonly string[]): string[] {
  if (plan.onSettled === undefined) return []
  const keys = new Set(settled)
  return keys.size === plan.messages ? [] : [`onSettled heard of ${keys.size} of ${plan.messages}`]
}
