// A small world for scenarios: a real SMTP server on loopback, a mailer on it, and a clock that moves when told.

import { createTransport } from 'nodemailer'
import {
  type Mailer,
  memoryStore,
  type Outcome,
  type SendOptions,
  type Ticket,
  type WrapOptions,
  wrapTransport,
} from 'steadymail'
import {
  type ManualClock,
  manualClock,
  type SmtpServer,
  type SmtpServerOptions,
  smtpServer,
} from 'steadymail/testing'
import { onTestFinished } from 'vitest'

export const MINUTE = 60_000
export const HOUR = 60 * MINUTE
export const DAY = 24 * HOUR

/** When every world begins. */
export const BEGIN = 1_767_225_600_000

export interface World {
  readonly server: SmtpServer
  readonly clock: ManualClock
  readonly mailer: Mailer
  /** What the mailer told, as `name:lane` or `name:address`, in order. */
  readonly told: string[]
  send(to: string | readonly string[], options?: SendOptions): Promise<Ticket>
  /** Sends to these addresses, one message each; runs time until all have ended. */
  deliver(...to: (string | readonly string[])[]): Promise<Outcome[]>
  /** Runs time until the promise settles; stands still while an attempt is under way. */
  run<T>(promise: Promise<T>, limitMs?: number): Promise<T>
  /** Runs time for so long; stands still while an attempt is under way. */
  pass(ms: number): Promise<void>
  /** Lets what is due now happen on the wire; time stands still. */
  rest(): Promise<void>
  /** How often the server was asked this. */
  asked(phase: string): number
}

export interface WorldOptions extends Partial<WrapOptions> {
  readonly smtp?: SmtpServerOptions
  readonly pool?: boolean
  readonly auth?: { user: string; pass: string }
  /** Further options of the nodemailer transport. */
  readonly transport?: Record<string, unknown>
}

export const mail = (to: string | readonly string[]) => ({
  from: 'shop@sender.test',
  to: typeof to === 'string' ? to : [...to],
  subject: 'Hello',
  text: 'Hello there.',
})

/** Runs the clock for a mailer that talks over real sockets: time stands still while an attempt is under way. */
export function runner(clock: ManualClock, ...mailers: readonly Mailer[]) {
  const busy = async () => {
    for (const mailer of mailers) {
      const lanes = await mailer.lanes().catch(() => [])
      if ((lanes[0]?.inFlight ?? 0) > 0) return true
    }
    return false
  }
  const run = <T>(promise: Promise<T>, limitMs?: number) =>
    clock.runUntil(promise, { busy, ...(limitMs === undefined ? {} : { limitMs }) })
  const pass = (ms: number) => run(new Promise<void>((resolve) => void clock.after(ms, resolve)))
  return { run, pass, rest: () => pass(0) }
}

export async function world(options: WorldOptions = {}): Promise<World> {
  const { smtp, pool = false, auth, transport, ...wrap } = options
  const clock = manualClock()
  const server = await smtpServer({ now: clock.now, ...smtp })
  const transporter = createTransport({
    host: server.host,
    port: server.port,
    pool,
    ignoreTLS: true,
    ...(auth === undefined ? {} : { auth }),
    ...transport,
  } as never)
  const told: string[] = []
  const mailer = wrapTransport(transporter, { store: memoryStore(), clock, ...wrap })
  for (const name of ['held', 'probing', 'recovering', 'opened', 'trouble'] as const) {
    mailer.on(name, (e) => told.push(`${name}:${e.lane}`))
  }
  for (const name of ['accepted', 'deferred', 'failed', 'uncertain', 'parked'] as const) {
    mailer.on(name, (e) => told.push(`${name}:${e.recipient.address}`))
  }
  onTestFinished(async () => {
    await clock.runUntil(mailer.close({ timeout: 0 })).catch(() => undefined)
    transporter.close()
    await server.close()
  })
  const { run, pass, rest } = runner(clock, mailer)
  const send = (to: string | readonly string[], how?: SendOptions) => mailer.sendWithRetry(mail(to), how)
  return {
    server,
    clock,
    mailer,
    told,
    run,
    pass,
    rest,
    send,
    async deliver(...to) {
      const tickets = await Promise.all(to.map((address) => send(address)))
      return run(Promise.all(tickets.map((ticket) => ticket.settled())))
    },
    asked: (phase) => server.log.filter((line) => line.kind === 'command' && line.phase === phase).length,
  }
}

/** A script that refuses these recipients, each with its reply. */
export function refusing(replies: Record<string, `${number} ${string}`>) {
  return (event: { phase: string; to: string }) => (event.phase === 'rcpt' ? replies[event.to] : undefined)
}
