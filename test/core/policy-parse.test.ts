import { describe, expect, it } from 'vitest'
import { builtinPolicies } from '../../src/builtin.ts'
import type { ProviderPolicy } from '../../src/core/policy.ts'
import { parsePolicies } from '../../src/core/policy-parse.ts'

const base = { name: 'acme', domains: ['acme.com'] }
const rule = { id: 'slow', code: 421, cause: 'rate-limit' }

function refusal(policy: unknown): string {
  try {
    parsePolicies([policy], 'policies', 'user')
  } catch (error) {
    return (error as Error).message
  }
  return 'accepted'
}

describe('a policy is refused, with its path, for', () => {
  it.each<[string, unknown, string]>([
    ['no object', 'acme', "policies[0]: expected a policy, an object with a name, got 'acme'"],
    ['no name', { domains: ['acme.com'] }, 'policies[0].name: expected a name, got undefined'],
    [
      'nothing it is about',
      { name: 'acme' },
      "policies[0].domains: expected domains or mx ('*' for all), or the name of a built-in policy, got 'acme'",
    ],
    [
      'an unknown key',
      { ...base, rat: '5/s' },
      "policies[0].rat: expected a known option, perhaps 'rate', got 'rat'",
    ],
    [
      'a rate without window',
      { ...base, rate: '20' },
      "policies[0].rate: expected '<number>/<s|min|h|d>', got '20'",
    ],
    [
      'a burst of none',
      { ...base, burst: 0 },
      'policies[0].burst: expected a whole number, at least 1, got 0',
    ],
    [
      'an unbounded concurrency',
      { ...base, concurrency: Infinity },
      'policies[0].concurrency: expected a whole number, at least 1, got Infinity',
    ],
    [
      'half a recipient to a cap',
      { ...base, caps: ['0.5/d'] },
      "policies[0].caps[0]: expected a whole number of recipients to a window, got '0.5/d'",
    ],
    [
      'a ttl of words',
      { ...base, ttl: '5 days' },
      "policies[0].ttl: expected milliseconds or '<number><ms|s|m|h|d|w>', got '5 days'",
    ],
    ['a ttl of nothing', { ...base, ttl: 0 }, 'policies[0].ttl: expected more than 0, got 0'],
    [
      'domains that are no list',
      { ...base, domains: 'acme.com' },
      "policies[0].domains: expected an array of domains, got 'acme.com'",
    ],
    [
      'a prefix',
      { ...base, domains: ['acme.*'] },
      "policies[0].domains[0]: expected a domain, '*.<domain>' for its subdomains, or '*', got 'acme.*'",
    ],
    [
      'a half-open star',
      { ...base, domains: ['*acme.com'] },
      "policies[0].domains[0]: expected a domain, '*.<domain>' for its subdomains, or '*', got '*acme.com'",
    ],
    [
      'an address for a domain',
      { ...base, domains: ['a@acme.com'] },
      "policies[0].domains[0]: expected a domain, '*.<domain>' for its subdomains, or '*', got 'a@acme.com'",
    ],
    [
      'all MX hosts',
      { ...base, mx: ['*'] },
      "policies[0].mx[0]: expected an MX host or '*.<domain>', got '*'",
    ],
    [
      'a lane name with spaces',
      { ...base, lane: 'my lane' },
      "policies[0].lane: expected a lane name of letters, digits, '.', '_' and '-', got 'my lane'",
    ],
    [
      'an empty schedule',
      { ...base, retry: [] },
      'policies[0].retry: expected at least one wait, got an array of 0',
    ],
    [
      'a schedule of nothing',
      { ...base, retry: ['5m', 0] },
      'policies[0].retry[1]: expected more than 0, got 0',
    ],
    [
      'a shrinking schedule',
      { ...base, retry: { first: '1h', max: '5m' } },
      "policies[0].retry.max: expected no less than first, got '5m'",
    ],
    [
      'a factor below 1',
      { ...base, retry: { first: '1m', max: '5m', factor: 0.5 } },
      'policies[0].retry.factor: expected a number from 1 to 100, got 0.5',
    ],
    [
      'an unknown cause',
      { ...base, reactions: { 'rate-limits': {} } },
      "policies[0].reactions.rate-limits: expected a known option, perhaps 'rate-limit', got 'rate-limits'",
    ],
    [
      'a factor above 1',
      { ...base, reactions: { 'rate-limit': { rateFactor: 2 } } },
      'policies[0].reactions.rate-limit.rateFactor: expected a number above 0, at most 1, got 2',
    ],
    [
      'a hold longer than the longest',
      { ...base, reactions: { blocklist: { hold: '2h', holdMax: '1h' } } },
      "policies[0].reactions.blocklist.holdMax: expected no less than hold, got '1h'",
    ],
    [
      'a list of no holds',
      { ...base, reactions: { blocklist: { hold: [] } } },
      'policies[0].reactions.blocklist.hold: expected at least one hold, got an array of 0',
    ],
    [
      'a warm-up of no day',
      { ...base, warmup: { start: '2026-02-30', daily: [50] } },
      "policies[0].warmup.start: expected a day as 'YYYY-MM-DD', got '2026-02-30'",
    ],
    [
      'a warm-up of no mail',
      { ...base, warmup: { start: '2026-02-03', daily: [0] } },
      'policies[0].warmup.daily[0]: expected a whole number, at least 1, got 0',
    ],
    [
      'a warm-up nobody knows',
      { ...base, warmup: { start: '2026-02-03', daily: 'fast' } },
      "policies[0].warmup.daily: expected one of 'automated', 'gentle', got 'fast'",
    ],
    [
      'an unknown TLS mode',
      { ...base, tls: 'maybe' },
      "policies[0].tls: expected one of 'opportunistic', 'required', 'verified', got 'maybe'",
    ],
    [
      'a classifier that is none',
      { ...base, classify: 'yes' },
      "policies[0].classify: expected a function, got 'yes'",
    ],
    [
      'a mark that keeps state',
      { ...base, marks: [/x/g] },
      'policies[0].marks[0]: expected a pattern without g or y, got /x/g',
    ],
  ])('%s', (_, policy, message) => {
    expect(refusal(policy)).toBe(message)
  })

  it('two of one name', () => {
    const twice = [base, { ...base, domains: ['acme.net'] }]
    expect(() => parsePolicies(twice, 'policies', 'user')).toThrow(
      "policies[1].name: expected a name no other policy has, got 'acme'",
    )
  })
})

describe('a rule is refused, with its path, for', () => {
  it.each<[string, unknown, string]>([
    [
      'no id',
      { code: 421, cause: 'unknown' },
      "policies[0].rules[0].id: expected an id as 'acme-slow-down', got undefined",
    ],
    [
      'no condition',
      { id: 'all', cause: 'rate-limit' },
      "policies[0].rules[0]: expected a condition (at least one of code, enhanced, text, phase), else it would match every reply, got 'all'",
    ],
    ['no cause', { id: 'x', code: 421 }, "policies[0].rules[0].cause: expected one of 'rate-limit'"],
    [
      'a code that refuses nothing',
      { ...rule, code: 250 },
      "policies[0].rules[0].code: expected a refusal's code, 400 to 599, '4xx' or '5xx', got 250",
    ],
    [
      'no code in the list',
      { ...rule, code: [] },
      'policies[0].rules[0].code: expected at least one, got an array of 0',
    ],
    [
      'an enhanced code of success',
      { ...rule, enhanced: '2.1.5' },
      "policies[0].rules[0].enhanced: expected a refusal's enhanced status code as '4.7.28' or '4.7.*', got '2.1.5'",
    ],
    [
      'codes that contradict each other',
      { ...rule, enhanced: '5.7.1' },
      "policies[0].rules[0].enhanced: expected the class of code, '4.…', else it can never match, got '5.7.1'",
    ],
    [
      'an empty text',
      { ...rule, text: ' ' },
      "policies[0].rules[0].text: expected a pattern or words, not empty, got ' '",
    ],
    [
      'an empty pattern',
      { ...rule, text: /(?:)/ },
      'policies[0].rules[0].text: expected a pattern that is not empty, got /(?:)/',
    ],
    [
      'a global pattern',
      { ...rule, text: /slow/g },
      'policies[0].rules[0].text: expected a pattern without the g and y flags, which skip matches, got /slow/g',
    ],
    [
      'a sticky pattern',
      { ...rule, text: /slow/iy },
      'policies[0].rules[0].text: expected a pattern without the g and y flags, which skip matches, got /slow/iy',
    ],
    [
      'an unknown phase',
      { ...rule, phase: 'body' },
      "policies[0].rules[0].phase: expected one of 'greeting'",
    ],
    [
      'a typing mistake',
      { ...rule, retryafter: '5m' },
      "policies[0].rules[0].retryafter: expected a known option, perhaps 'retryAfter', got 'retryafter'",
    ],
    [
      'a bad wait',
      { ...rule, retryAfter: 'soon' },
      "policies[0].rules[0].retryAfter: expected milliseconds or '<number><ms|s|m|h|d|w>', got 'soon'",
    ],
  ])('%s', (_, given, message) => {
    expect(refusal({ ...base, rules: [given] })).toContain(message)
  })

  it('an id that another has', () => {
    expect(refusal({ ...base, rules: [rule, rule] })).toBe(
      "policies[0].rules[1].id: expected an id no other rule of the policy has, got 'slow'",
    )
  })
})

it('accepts the policy of the manual, and internationalised domains', () => {
  const acme: ProviderPolicy = {
    name: 'acme',
    domains: ['ACME.com.', '*.acme.net', 'münchen.example', '[192.0.2.1]'],
    lane: 'acme',
    rate: '20/min',
    burst: 5,
    concurrency: 2,
    ttl: '2d',
    rules: [
      { id: 'acme-slow-down', code: 421, text: /try again later/i, cause: 'rate-limit', retryAfter: '15m' },
    ],
    reactions: { 'rate-limit': { hold: '15m', rateFactor: 0.5 } },
  }
  const [parsed] = parsePolicies([acme], 'policies', 'user')
  expect(parsed?.domains).toEqual([
    { kind: 'exact', name: 'acme.com' },
    { kind: 'under', name: 'acme.net' },
    { kind: 'exact', name: 'xn--mnchen-3ya.example' },
    { kind: 'exact', name: '[192.0.2.1]' },
  ])
})

it('accepts a rule whose enhanced code leaves the class open', () => {
  expect(refusal({ ...base, rules: [{ ...rule, code: '4xx', enhanced: ['*.7.1', '5.7.1'] }] })).toBe(
    'accepted',
  )
})

it('accepts every built-in policy', () => {
  expect(parsePolicies(builtinPolicies, 'builtin', 'built-in')).toHaveLength(builtinPolicies.length)
})
