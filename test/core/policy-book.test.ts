import { describe, expect, it } from 'vitest'
import type { ProviderPolicy } from '../../src/core/policy.ts'
import { bookOf, DAY, HOUR, MIN } from './fixtures.ts'

const gmail: ProviderPolicy = {
  name: 'gmail',
  domains: ['gmail.com', 'googlemail.com'],
  mx: ['*.google.com'],
  lane: 'gmail',
  rate: '10/s',
  burst: 50,
  concurrency: 5,
  messagesPerConnection: 50,
  tls: 'required',
  reactions: { 'rate-limit': { hold: '30m', holdMax: '8h' } },
  source: 'support.google.com/mail/answer/81126',
  date: '2026-08-01',
}

describe('without a policy', () => {
  it('each domain is its own lane: 10/s, burst 50, 10 attempts at a time', () => {
    const policy = bookOf().forDomain('example.com')
    expect(policy).toMatchObject({
      lane: 'example.com',
      names: [],
      limits: { rate: { count: 10, perMs: 1_000 }, burst: 50, caps: [], concurrency: 10 },
      retry: { kind: 'curve', firstMs: 15 * MIN, factor: 2, maxMs: 4 * HOUR, jitter: 0.2 },
      tls: 'opportunistic',
    })
    expect(policy.provider).toBeUndefined()
    expect(policy.ttlMs).toBeUndefined()
  })
})

describe('which domains a policy speaks of', () => {
  const lanes = (domains: string[], ask: string[]) => {
    const book = bookOf([{ name: 'acme', domains, lane: 'acme' }])
    return ask.filter((domain) => book.forDomain(domain).lane === 'acme')
  }

  it('a name is that domain and nothing under or before it', () => {
    expect(
      lanes(['yahoo.co'], ['yahoo.co', 'yahoo.co.jp', 'yahoo.com', 'mail.yahoo.co', 'notyahoo.co']),
    ).toEqual(['yahoo.co'])
  })

  it('*.x is what lies under x, not x itself', () => {
    const ask = ['acme.net', 'a.acme.net', 'a.b.acme.net', 'badacme.net']
    expect(lanes(['*.acme.net'], ask)).toEqual(['a.acme.net', 'a.b.acme.net'])
  })

  it('* is all', () => {
    expect(lanes(['*'], ['acme.net', '[192.0.2.1]'])).toEqual(['acme.net', '[192.0.2.1]'])
  })

  it('a hosted domain joins its provider when its MX is known', () => {
    const book = bookOf([], [gmail])
    expect(book.forDomain('corp.example').lane).toBe('corp.example')
    expect(book.forDomain('corp.example', 'aspmx.l.google.com.').lane).toBe('gmail')
    expect(book.forDomain('corp.example', 'google.com').lane).toBe('corp.example')
  })

  it('case and a trailing dot make no difference', () => {
    expect(bookOf([], [gmail]).forDomain('GMail.com.').lane).toBe('gmail')
  })
})

describe('merging', () => {
  it('takes field by field: the user first, then the built-in, then the default', () => {
    const policy = bookOf(
      [{ name: 'mine', domains: ['gmail.com'], concurrency: 2, ttl: '2d' }],
      [gmail],
    ).forDomain('gmail.com')
    expect(policy).toMatchObject({
      lane: 'gmail',
      provider: 'mine',
      names: ['mine', 'gmail'],
      limits: { rate: { text: '10/s' }, burst: 50, concurrency: 2 },
      ttlMs: 2 * DAY,
      tls: 'required',
    })
  })

  it('a stated rate brings its own burst, what five seconds allow, and not a lower policy’s', () => {
    const burst = (rate: ProviderPolicy['rate']) =>
      bookOf([{ name: 'mine', domains: ['gmail.com'], ...(rate && { rate }) }], [gmail]).forDomain(
        'gmail.com',
      ).limits.burst
    expect([burst('20/min'), burst('5/s'), burst('14/s'), burst('1000/h'), burst(undefined)]).toEqual([
      1, 25, 70, 1, 50,
    ])
  })

  it('a burst stated above a rate belongs to it', () => {
    const book = bookOf([{ name: 'mine', domains: ['gmail.com'], burst: 3 }], [gmail])
    expect(book.forDomain('gmail.com').limits).toMatchObject({ rate: { text: '10/s' }, burst: 3 })
  })

  it('merges reactions per cause and per field', () => {
    const user: ProviderPolicy = {
      name: 'mine',
      domains: ['gmail.com'],
      reactions: { 'rate-limit': { rateFactor: 0.25 }, greylist: { retry: ['1m'] } },
    }
    const { reactions } = bookOf([user], [gmail]).forDomain('gmail.com')
    expect(reactions['rate-limit']).toMatchObject({
      rateFactor: 0.25,
      holdMs: 30 * MIN,
      holdMaxMs: 8 * HOUR,
      countsAsAttempt: false,
    })
    expect(reactions.greylist).toMatchObject({ retry: { kind: 'list', ms: [MIN] } })
    expect(reactions.concurrency).toMatchObject({ holdMs: 30_000, concurrencyFactor: 0.5 })
  })

  it('a stated hold is not cut by a default maximum, and a stated maximum cuts a default hold', () => {
    const { reactions } = bookOf([
      {
        name: 'mine',
        domains: ['*'],
        reactions: { concurrency: { hold: '1h' }, blocklist: { holdMax: '1h' }, 'server-busy': { hold: 0 } },
      },
    ]).forDomain('example.com')
    expect(reactions.concurrency).toMatchObject({ holdMs: HOUR, holdMaxMs: HOUR })
    expect(reactions.blocklist).toMatchObject({ holdMs: HOUR, permanentHoldMs: HOUR, holdMaxMs: HOUR })
    expect(reactions['server-busy'].holdMs).toBeUndefined()
  })

  it('a stated hold replaces a list of holds, and a list doubling', () => {
    const { reactions } = bookOf([
      {
        name: 'mine',
        domains: ['*'],
        reactions: { 'auth-credentials': { hold: '10m' }, 'rate-limit': { hold: ['1m', '10m'] } },
      },
    ]).forDomain('example.com')
    expect(reactions['auth-credentials'].holdStepsMs).toBeUndefined()
    expect(reactions['auth-credentials']).toMatchObject({ holdMs: 10 * MIN, holdMaxMs: 4 * HOUR })
    expect(reactions['rate-limit']).toMatchObject({
      holdMs: MIN,
      holdStepsMs: [MIN, 10 * MIN],
      holdMaxMs: 10 * MIN,
    })
  })

  it('the more specific of two policies wins, whatever their order', () => {
    const book = bookOf([
      { name: 'all', domains: ['*'], rate: '1/s', ttl: '1d' },
      { name: 'under', domains: ['*.acme.com'], rate: '2/s' },
      { name: 'one', domains: ['mail.acme.com'], rate: '3/s' },
    ])
    const rates = ['example.com', 'a.acme.com', 'mail.acme.com'].map(
      (d) => book.forDomain(d).limits.rate?.text,
    )
    expect(rates).toEqual(['1/s', '2/s', '3/s'])
    expect(book.forDomain('mail.acme.com')).toMatchObject({
      provider: 'one',
      names: ['one', 'under', 'all'],
      ttlMs: DAY,
    })
    expect(book.forDomain('example.com').provider).toBeUndefined()
  })

  it('a policy that names a domain and all others is specific to the one', () => {
    const book = bookOf([
      { name: 'both', domains: ['*', 'a.test'], rate: '1/s' },
      { name: 'under', domains: ['*.test'], rate: '2/s' },
    ])
    expect(['a.test', 'b.test'].map((d) => book.forDomain(d).limits.rate?.text)).toEqual(['1/s', '2/s'])
  })

  it('a policy of a built-in’s name extends it to its own domains and needs none', () => {
    const without = bookOf([{ name: 'gmail', concurrency: 1 }], [gmail])
    expect(without.forDomain('googlemail.com').limits.concurrency).toBe(1)
    const withDomains = bookOf([{ name: 'gmail', domains: ['corp.example'] }], [gmail])
    expect(withDomains.forDomain('corp.example')).toMatchObject({ lane: 'gmail', tls: 'required' })
    expect(withDomains.forDomain('gmail.com').lane).toBe('gmail')
  })
})

describe('a lane that several policies share', () => {
  it('has one set of limits, wherever they are stated', () => {
    const book = bookOf([
      { name: 'a', domains: ['a.test'], lane: 'acme', rate: '20/min' },
      { name: 'b', domains: ['b.test'], lane: 'acme', burst: 4 },
    ])
    const expected = { rate: { text: '20/min' }, burst: 4 }
    for (const domain of ['a.test', 'b.test']) expect(book.forDomain(domain).limits).toMatchObject(expected)
    expect(book.forLane('acme', 'acme')).toMatchObject({ lane: 'acme', limits: expected })
  })

  it('is refused contradictory limits, with the path', () => {
    const conflict = () =>
      bookOf([
        { name: 'a', domains: ['a.test'], lane: 'acme', rate: '20/min' },
        { name: 'b', domains: ['b.test'], lane: 'acme', rate: '5/s' },
      ])
    expect(conflict).toThrow(
      "policies[1].rate: expected '20/min', as policies[0] says for the lane 'acme' that both share, got '5/s'",
    )
  })

  it('takes a user’s limit for one domain of a built-in group as the group’s', () => {
    const book = bookOf([{ name: 'mine', domains: ['gmail.com'], rate: '1/s' }], [gmail])
    expect(book.forDomain('googlemail.com').limits).toMatchObject({ rate: { text: '1/s' }, burst: 5 })
    const both: ProviderPolicy[] = [
      { name: 'x', domains: ['gmail.com'], rate: '1/s' },
      { name: 'y', domains: ['googlemail.com'], rate: '2/s' },
    ]
    expect(() => bookOf(both, [gmail])).toThrow("the lane 'gmail' that both share")
  })

  it('takes the limits of the nearer of two policies, and no notice of a domain that only ends alike', () => {
    const book = bookOf([
      { name: 'near', domains: ['mail.acme.com'], lane: 'acme', rate: '2/s' },
      { name: 'far', domains: ['*.acme.com'], rate: '1/s' },
      { name: 'stranger', domains: ['mailxacme.com'], rate: '9/s', burst: 9 },
    ])
    expect(book.forDomain('mail.acme.com').limits).toMatchObject({ rate: { text: '2/s' }, burst: 10 })
    const group: ProviderPolicy = { name: 'group', domains: ['*.acme.net'], lane: 'group', rate: '3/s' }
    const alike = bookOf([{ name: 'alike', domains: ['xacme.net'], rate: '1/s' }], [group])
    expect(alike.forDomain('a.acme.net').limits.rate?.text).toBe('3/s')
  })

  it('lets a domain join a built-in group by naming its lane', () => {
    const book = bookOf([{ name: 'corp', domains: ['corp.example'], lane: 'gmail' }], [gmail])
    expect(book.forDomain('corp.example')).toMatchObject({ lane: 'gmail', limits: { concurrency: 5 } })
  })

  it('a policy for all domains is a floor for the group, above the built-in', () => {
    const book = bookOf([{ name: 'all', domains: ['*'], concurrency: 3 }], [gmail])
    expect(book.forDomain('gmail.com')).toMatchObject({
      lane: 'gmail',
      limits: { concurrency: 3, burst: 50 },
    })
  })
})

it('a stored lane that no policy names any more keeps its key', () => {
  expect(bookOf().forLane('acme', 'a.test')).toMatchObject({ lane: 'acme', limits: { burst: 50 } })
})

it('a warm-up begins at midnight UTC', () => {
  const policy: ProviderPolicy = {
    name: 'new',
    domains: ['*'],
    warmup: { start: '2026-12-01', daily: [50, 100] },
  }
  expect(bookOf([policy]).forDomain('a.test').limits.warmup).toEqual({
    startAt: Date.UTC(2026, 11, 1),
    daily: [50, 100],
  })
})

it('a warm-up plan by name has its stages, and its source in the explanation', () => {
  const book = bookOf([
    { name: 'new', domains: ['*'], warmup: { start: '2026-12-01', daily: 'automated' } },
    { name: 'small', domains: ['b.test'], warmup: { start: '2026-12-01', daily: 'gentle' } },
  ])
  expect(book.forDomain('a.test').limits.warmup?.daily).toEqual([
    200, 500, 1_000, 2_000, 5_000, 10_000, 20_000, 40_000, 50_000, 75_000, 100_000,
  ])
  expect(book.explain('a.test').values.find(({ name }) => name === 'warmup')?.value).toMatch(
    /^'automated' \(https:\/\/\S*sparkpost\S* .*, \d{4}-\d\d-\d\d\): 200, 500, .* a day$/,
  )
  const gentle = book.forDomain('b.test').limits.warmup?.daily ?? []
  expect([gentle.length, gentle[0]]).toEqual([28, 50])
  gentle.forEach((count, i) => {
    expect(count).toBeGreaterThanOrEqual(gentle[i - 1] ?? 0)
    expect(count).toBeLessThanOrEqual(2 * (gentle[i - 1] ?? count))
  })
})

it('remembers a bounded number of domains and answers the same for those it forgot', () => {
  const book = bookOf([], [gmail])
  const before = book.forDomain('gmail.com')
  expect(book.forDomain('gmail.com')).toBe(before)
  for (let i = 0; i < 45_000; i++) book.forDomain(`d${i}.test`)
  expect(book.forDomain('gmail.com')).not.toBe(before)
  expect(book.forDomain('gmail.com')).toEqual(before)
})

describe('explain', () => {
  const user: ProviderPolicy = {
    name: 'mine',
    domains: ['gmail.com'],
    rate: '20/min',
    reactions: { 'rate-limit': { hold: '15m' } },
  }
  const explanation = bookOf([user], [gmail], { ttlMs: 5 * DAY }).explain('GMAIL.com')
  const origin = (name: string) => explanation.values.find((value) => value.name === name)

  it('tells each value and where it comes from', () => {
    expect(origin('rate')).toEqual({ name: 'rate', value: '20/min', from: { kind: 'user', policy: 'mine' } })
    expect(origin('burst')).toMatchObject({ value: '1', from: { kind: 'user', policy: 'mine' } })
    expect(origin('concurrency')).toMatchObject({
      value: '5',
      from: { kind: 'built-in', policy: 'gmail', source: gmail.source, date: '2026-08-01' },
    })
    expect(origin('ttl')).toMatchObject({ value: '5d', from: { kind: 'mailer' } })
    expect(origin('retry')).toMatchObject({ value: '15m ×2 to 4h ±20 %', from: { kind: 'default' } })
    expect(origin('reactions.rate-limit.hold')).toMatchObject({ value: '15m', from: { policy: 'mine' } })
    expect(origin('reactions.rate-limit.holdMax')).toMatchObject({ value: '8h', from: { policy: 'gmail' } })
    expect(origin('reactions.greylist.retry')).toMatchObject({
      value: '6m, 15m, 30m and so on',
      from: { kind: 'default', source: expect.stringContaining('RFC 6647') },
    })
  })

  it('prints as a table', () => {
    const lines = String(explanation).split('\n')
    expect(lines[0]).toBe("gmail.com: lane 'gmail', policies mine, gmail")
    expect(lines).toContainEqual(expect.stringMatching(/^ {2}rate +20\/min +policy 'mine'$/))
    expect(lines).toContainEqual(
      expect.stringMatching(
        /^ {2}concurrency +5 +built-in 'gmail' \(support\.google\.com\/mail\/answer\/81126, 2026-08-01\)$/,
      ),
    )
    expect(lines).toContainEqual(expect.stringMatching(/^ {2}caps +none +default$/))
    expect(lines).toContainEqual(expect.stringMatching(/^ {2}ttl +5d +the mailer$/))
    expect(lines).toContainEqual(
      expect.stringMatching(
        /^ {2}rate-limit +hold 15m, holdMax 8h, rateFactor 0\.5, countsAsAttempt false +hold: policy 'mine'; holdMax: built-in 'gmail' \(.*\); rateFactor, countsAsAttempt: default \(.*\)$/,
      ),
    )
    expect(lines).toContainEqual(
      expect.stringMatching(/^ {2}greylist +retry 6m, 15m, 30m and so on +default \(RFC 6647; .*\)$/),
    )
  })
})
