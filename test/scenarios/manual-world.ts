// A world without sockets: the mailer over a scripted transport in this process, under a clock that moves when told.
// For scenarios of many thousand messages, and for random ones; the worlds with a real server are world.ts.

import {
  type Mailer,
  memoryStore,
  type SendOptions,
  type Ticket,
  type WrapOptions,
  wrapTransport,
} from 'steadymail'
import { type ManualClock, manualClock, type ScriptedTransport, scriptedTransport } from 'steadymail/testing'
import { onTestFinished } from 'vitest'
import { mail } from './world.ts'

export interface ManualWorld {
  readonly clock: ManualClock
  readonly mailer: Mailer
  readonly transport: ScriptedTransport
  send(to: string | readonly string[], options?: SendOptions): Promise<Ticket>
}

export interface ManualWorldOptions extends Partial<WrapOptions> {
  readonly transport?: ScriptedTransport
}

export async function manualWorld(options: ManualWorldOptions = {}): Promise<ManualWorld> {
  const { transport = scriptedTransport(), ...wrap } = options
  const clock = manualClock()
  const mailer = wrapTransport(transport, { store: memoryStore(), clock, ...wrap })
  onTestFinished(async () => {
    await clock.runUntil(mailer.close({ timeout: 0 })).catch(() => undefined)
  })
  return { clock, mailer, transport, send: (to, how) => mailer.sendWithRetry(mail(to), how) }
}
