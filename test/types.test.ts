// What the compiler says to a user: each @ts-expect-error is a mistake it must catch. `npm run types` is the
// other half of this test; here the same code runs, so that what the types allow is allowed at run time too.

import { createTransport, type SendMailOptions, type Transporter } from 'nodemailer'
import {
  type Cause,
  type Duration,
  duration,
  type EventMap,
  type Mailer,
  memoryStore,
  type Outcome,
  type ProviderPolicy,
  type Rate,
  rate,
  SteadymailError,
  type Ticket,
  type Verdict,
  wrapTransport,
} from 'steadymail'
import { type MxInfo, mxTransport } from 'steadymail/mx'
import { scriptedTransport } from 'steadymail/testing'
import { expect, expectTypeOf, it } from 'vitest'

const store = memoryStore()

function refusal(use: () => unknown): string {
  try {
    use()
  } catch (error) {
    if (SteadymailError.is(error)) return error.message
    throw error
  }
  return 'accepted'
}

it('durations are strict', () => {
  const good: Duration[] = ['500ms', '30s', '15m', '4h', '5d', '2w', '1.5h', 60_000]
  expect(good.map((text) => duration(text))).not.toContain(Number.NaN)
  // @ts-expect-error a space and a word
  expect(refusal(() => wrapTransport('smtp://x', { store, ttl: '5 days' }))).toMatch(
    /^ttl: expected .*got '5 days'/,
  )
  // @ts-expect-error no unit
  expect(refusal(() => wrapTransport('smtp://x', { store, ttl: '20' }))).toMatch(/^ttl: expected/)
  // the compiler takes a sign for a part of the number
  expect(refusal(() => wrapTransport('smtp://x', { store, ttl: '-5d' }))).toMatch(/^ttl: expected/)
})

it('rates are strict', () => {
  const good: Rate[] = ['20/min', '5/s', '1000/h', '50000/d', '0.5/s']
  expect(good.map((text) => rate(text).text)).toEqual(good)
  const egress = (value: Rate) => refusal(() => wrapTransport('smtp://x', { store, egress: { rate: value } }))
  // @ts-expect-error no window
  expect(egress('20')).toMatch(/^egress\.rate: expected .*got '20'/)
  // @ts-expect-error minutes are min
  expect(egress('20/m')).toMatch(/^egress\.rate: expected/)
  expect(egress('0/min')).toMatch(/^egress\.rate: expected a rate above 0/)
})

it('policies are checked field by field', () => {
  const good = {
    name: 'acme',
    domains: ['acme.test'],
    rate: '20/min',
    reactions: { 'rate-limit': { hold: '15m' } },
    rules: [{ id: 'acme-busy', code: '4xx', cause: 'server-busy' }],
  } satisfies ProviderPolicy
  expect(good.rate).toBe('20/min') // satisfies keeps what was written
  // @ts-expect-error unknown field
  const misspelt = { name: 'acme', domain: 'acme.test' } satisfies ProviderPolicy
  // @ts-expect-error no such cause
  const causeless = { name: 'acme', reactions: { 'too-fast': { hold: '1m' } } } satisfies ProviderPolicy
  // @ts-expect-error a rule without a cause
  const pointless = { name: 'acme', rules: [{ id: 'a', code: 421 }] } satisfies ProviderPolicy
  for (const policy of [misspelt, causeless, pointless]) {
    const wrap = () => wrapTransport('smtp://x', { store, policies: [policy as ProviderPolicy] })
    expect(refusal(wrap)).toMatch(/^policies\[0\]\.(domain|reactions|rules)/)
  }
})

it('options are checked: a store is needed, unknown ones are refused', () => {
  // @ts-expect-error no store
  expect(refusal(() => wrapTransport('smtp://x', {}))).toMatch(/^store: expected/)
  // @ts-expect-error retries is no option
  expect(refusal(() => wrapTransport('smtp://x', { store, retries: 3 }))).toMatch(/retries/)
  // @ts-expect-error tickets is no event
  expect(refusal(() => wrapTransport('smtp://x', { store, on: { ticket: () => {} } }))).toMatch(/^on/)
})

it("a nodemailer transporter's mail type is the mailer's", () => {
  const transporter = createTransport('smtp://localhost')
  expectTypeOf(transporter).toExtend<Transporter>()
  const mailer = wrapTransport(transporter, { store })
  expectTypeOf(mailer.sendWithRetry).parameter(0).toEqualTypeOf<SendMailOptions>()
  const misspelt = () =>
    // @ts-expect-error no such field
    mailer.sendWithRetry({ subjekt: 'Hi' })
  expect(misspelt).toBeTypeOf('function')
})

it('an object that has only sendMail gives its own', () => {
  interface OwnMail {
    readonly to: string
    readonly template: 'welcome' | 'goodbye'
  }
  const own = { sendMail: async (_mail: OwnMail) => ({ ok: true }) }
  const mailer = wrapTransport(own, { store })
  expectTypeOf(mailer).toEqualTypeOf<Mailer<OwnMail>>()
  // @ts-expect-error no such template
  const misspelt = () => mailer.sendWithRetry({ to: 'a@b.test', template: 'hello' })
  expect(misspelt).toBeTypeOf('function')
})

it('plugins, options and URLs take any mail object', () => {
  for (const mailer of [
    wrapTransport('smtp://localhost', { store }),
    wrapTransport({ host: 'localhost', port: 25, pool: true }, { store }),
    wrapTransport(scriptedTransport(), { store }),
  ]) {
    expectTypeOf(mailer.sendWithRetry).parameter(0).toExtend<Record<string, unknown>>()
    expectTypeOf(mailer.sendWithRetry).returns.toEqualTypeOf<Promise<Ticket>>()
    expect(mailer.sendWithRetry).toBeTypeOf('function')
  }
})

it('events, outcomes and verdicts are closed', () => {
  const mailer = wrapTransport('smtp://localhost', {
    store,
    on: { failed: (e) => expectTypeOf(e).toEqualTypeOf<EventMap['failed']>() },
    onSettled: async (outcome) => expectTypeOf(outcome).toEqualTypeOf<Outcome>(),
  })
  expectTypeOf(mailer.on('held', (e) => e.until)).toEqualTypeOf<() => void>()
  expectTypeOf<Outcome['status']>().toEqualTypeOf<'accepted' | 'partial' | 'failed'>()
  expectTypeOf<Verdict['cause']>().toEqualTypeOf<Cause>()
  expectTypeOf<SteadymailError['code']>().extract<'KEY_CONFLICT'>().toEqualTypeOf<'KEY_CONFLICT'>()
  // @ts-expect-error no such event
  expect(() => mailer.on('bounced', () => {})).toThrow("expected one of 'queued'")
})

it('our transports fit createTransport, and what they answer is typed', () => {
  const scripted = () => createTransport(scriptedTransport()).sendMail({ to: 'a@b.test' })
  expectTypeOf<Awaited<ReturnType<typeof scripted>>['accepted']>().toEqualTypeOf<readonly string[]>()
  const direct = () => createTransport(mxTransport()).sendMail({ to: 'a@b.test' })
  expectTypeOf<Awaited<ReturnType<typeof direct>>>().toEqualTypeOf<MxInfo>()
  wrapTransport(mxTransport(), { store })
  expect([scripted, direct]).toHaveLength(2)
})

it('the drop-in fits createTransport, and its info is typed', () => {
  const mailer = wrapTransport(scriptedTransport(), { store })
  const transporter = createTransport(mailer.transport())
  const send = () => transporter.sendMail({ to: 'a@b.test' })
  type Info = Awaited<ReturnType<typeof send>>
  expectTypeOf<Info['response']>().toEqualTypeOf<string>()
  expectTypeOf<Info['ticket']>().toEqualTypeOf<Ticket>()
  expect(transporter.transporter.name).toBe('steadymail')
})
