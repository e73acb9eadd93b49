// A small world for scenarios: a real SMTP server on loopback, a mailer on it, and a clock that moves when told.

import { createTransport } from 'nodemailer'
import { type Mailer, memoryStore, type Outcome, type WrapOptions, wrapTransport } from 'steadymail'
import {
  type ManualClock,
  manualClock,
  type SmtpServer,
  type SmtpServerOptions,
  smtpServer,
} from 'steadymail/testing'
import { onTestFinished } from 'vitest'

export interface World {
  readonly server: SmtpServer
  readonly clock: ManualClock
  readonly mailer: Mailer
  /** What the mailer told, as `name` or `name:lane`, in order. */
  readonly told: string[]
  /** Sends to these addresses, one message each; runs time until all have ended. */
  deliver(...to: (string | readonly string[])[]): Promise<Outcome[]>
  /** Runs time until the promise settles; stands still while an attempt is under way. */
  run<T>(promise: Promise<T>, limitMs?: number): Promise<T>
}

export interface WorldOptions extends Partial<WrapOptions> {
  readonly smtp?: SmtpServerOptions
  readonly pool?: boolean
  readonly auth?: { user: string; pass: string }
}

export const mail = (to: string | readonly string[]) => ({
  from: 'shop@sender.test',
  to: typeof to === 'string' ? to : [...to],
  subject: 'Hello',
  text: 'Hello there.',
})

export async function world(options: WorldOptions = {}): Promise<World> {
  const { smtp, pool = false, auth, ...wrap } = options
  const clock = manualClock()
  const server = await smtpServer({ now: clock.now, ...smtp })
  const transporter = createTransport({
    host: server.host,
    port: server.port,
    pool,
    ignoreTLS: true,
    ...(auth === undefined ? {} : { auth }),
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
    await mailer.close({ timeout: 0 }).catch(() => undefined)
    transporter.close()
    await server.close()
  })
  const busy = async () => ((await mailer.lanes())[0]?.inFlight ?? 0) > 0
  const run = <T>(promise: Promise<T>, limitMs?: number) =>
    clock.runUntil(promise, { busy, ...(limitMs === undefined ? {} : { limitMs }) })
  return {
    server,
    clock,
    mailer,
    told,
    run,
    async deliver(...to) {
      const tickets = await Promise.all(to.map((address) => mailer.sendWithRetry(mail(address))))
      return run(Promise.all(tickets.map((ticket) => ticket.settled())))
    },
  }
}
