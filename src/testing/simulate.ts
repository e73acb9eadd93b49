// A policy tried before production: the engine, unmodified, sends a plan's traffic to modelled receivers under a
// manual clock, and five days pass in seconds. Not here: the models (models.ts), the counting (ledger.ts).

import type { Clock } from '../clock.ts'
import { MINUTE } from '../core/units.ts'
import { type Mailer, wrapTransport } from '../mailer.ts'
import type { Logger } from '../report.ts'
import { memoryStore } from '../stores/memory.ts'
import { Ledger, type Simulation } from './ledger.ts'
import { type ManualClock, manualClock } from './manual-clock.ts'
import type { Refusal } from './models.ts'
import { DEFAULT_TOOK_MS, type Due, type Plan, type PreparedPlan, preparePlan } from './plan.ts'
import { type ScriptedAnswer, scriptedTransport } from './scripted-transport.ts'

/** A Thursday, as good as any. */
const START = 1_767_225_600_000
/** What a simulation leaves over is in its result. */
const SILENT: Logger = { debug() {}, info() {}, warn() {}, error() {} }
/** Steps in a result, at most. */
const STEPS = 480

/**
 * Runs a plan: the real engine on a memory store, against modelled receivers, under a manual clock.
 *
 * ```ts
 * const { lanes } = await simulate({
 *   providers: [{ name: 'acme', domains: ['acme.test'], receiver: { kind: 'sliding-window', limit: '20/min' } }],
 *   traffic: [{ to: 'acme.test', messages: 1_000 }],
 * })
 * ```
 * @throws {SteadymailError} `BAD_OPTION`, naming the path in the plan
 */
export async function simulate(plan: Plan): Promise<Simulation> {
  const prepared = preparePlan(plan, START)
  const clock = manualClock({ start: START, seed: prepared.seed })
  const lanes = new Map<string, string>()
  const ledger = new Ledger(clock.now, (domain) => {
    const lane = lanes.get(domain) ?? mailer.explainPolicy(domain).lane
    lanes.set(domain, lane)
    return lane
  })
  const mailer: Mailer<Mail> = wrapTransport<Mail>(receivers(prepared, clock, ledger), {
    store: memoryStore(),
    policies: plan.policies ?? [],
    clock,
    route: plan.route ?? 'direct',
    on: ledger.listeners(),
    logger: SILENT,
    retention: { accepted: '1h', failed: '1h', keys: '1h' },
    ...(plan.egress !== undefined && { egress: plan.egress }),
    ...(plan.ttl !== undefined && { ttl: plan.ttl }),
  })
  const stepMs = Math.max(MINUTE, Math.round(prepared.lengthMs / STEPS))
  const end = START + prepared.lengthMs
  const stop = new AbortController()
  try {
    await mailer.start()
    send(mailer, prepared.due, clock, ledger, stop.signal)
    look(mailer, clock, ledger, stepMs, stop.signal)
    const isOver = () =>
      ledger.failure !== undefined || ledger.ended === prepared.due.length || clock.now() >= end
    await clock.advanceUntil(isOver, prepared.lengthMs)
  } finally {
    stop.abort()
    const closed = mailer.close({ timeout: 1 })
    await clock.advance(MINUTE)
    await closed
  }
  if (ledger.failure !== undefined) throw ledger.failure
  return ledger.result(prepared.lengthMs, stepMs)
}

interface Mail {
  readonly envelope: { readonly from: string; readonly to: string }
  readonly raw: string
}

/** Hands each message to the mailer at its moment. */
function send(
  mailer: Mailer<Mail>,
  due: readonly Due[],
  clock: Clock,
  ledger: Ledger,
  stop: AbortSignal,
): void {
  let next = 0
  const sendDue = () => {
    if (stop.aborted) return
    for (let one = due[next]; one !== undefined && one.at <= clock.now(); one = due[next]) {
      next += 1
      const { from, to, priority } = one
      const raw = `From: <${from}>\r\nTo: <${to}>\r\nSubject: simulated\r\n\r\n.\r\n`
      ledger.sent(to, domainOf(to), clock.now())
      mailer
        .sendWithRetry({ envelope: { from, to }, raw }, { priority })
        .catch((error: unknown) => ledger.fail(error))
    }
    const following = due[next]
    if (following !== undefined) clock.after(following.at - clock.now(), sendDue)
  }
  clock.after(0, sendDue)
}

/** Notes the state of the lanes once a step. */
function look(
  mailer: Mailer<Mail>,
  clock: ManualClock,
  ledger: Ledger,
  stepMs: number,
  stop: AbortSignal,
): void {
  const again = () => {
    if (stop.aborted) return
    const at = clock.now()
    const looking = mailer.lanes().then(
      (lanes) => ledger.step(at, lanes),
      (error: unknown) => ledger.fail(error),
    )
    clock.working?.(looking)
    clock.after(stepMs, again)
  }
  clock.after(stepMs, again)
}

/** The modelled receivers as one transport. */
function receivers(prepared: PreparedPlan, clock: Clock, ledger: Ledger) {
  const open = new Map<string, number>()
  const change = (name: string, by: number) => {
    const connections = (open.get(name) ?? 0) + by
    open.set(name, connections)
    return connections
  }
  return scriptedTransport(
    ({ from, to }) => {
      const domain = domainOf(to[0] ?? '')
      const provider = prepared.byDomain.get(domain)
      const name = provider?.name ?? domain
      const attempt = { sender: from, recipients: to, connections: change(name, 1) }
      const answers = provider?.receiver.answer(clock.now(), attempt) ?? to.map(() => undefined)
      ledger.attempted(domain, answers)
      const isRefused = answers.every((answer) => answer !== undefined)
      const tookMs = (provider?.tookMs ?? DEFAULT_TOOK_MS) * (isRefused ? 0.1 : 1) * (0.5 + clock.random())
      return new Promise((resolve) => {
        clock.after(Math.max(1, Math.round(tookMs)), () => {
          change(name, -1)
          resolve({ recipients: Object.fromEntries(to.map((address, i) => [address, toAnswer(answers[i])])) })
        })
      })
    },
    { route: prepared.plan.route ?? 'direct', record: false },
  )
}

function toAnswer(refusal: Refusal | undefined): ScriptedAnswer {
  if (refusal === undefined) return '250 2.0.0 Ok'
  const { reply, errno, phase } = refusal
  return { phase, ...(reply !== undefined && { reply }), ...(errno !== undefined && { errno }) }
}

function domainOf(address: string): string {
  return address.slice(address.lastIndexOf('@') + 1)
}
