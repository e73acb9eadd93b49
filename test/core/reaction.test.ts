import { describe, expect, it } from 'vitest'
import { CAUSES, type Cause } from '../../src/core/cause.ts'
import { DEFAULT_REACTIONS } from '../../src/core/reaction.ts'
import { durationText } from '../../src/core/units.ts'
import { policyOf } from './fixtures.ts'

const { reactions } = policyOf()
const causes = (pick: (cause: Cause) => boolean) => CAUSES.filter(pick)

describe('the table of default reactions', () => {
  it('names every cause and a source for each', () => {
    expect(Object.keys(DEFAULT_REACTIONS).sort()).toEqual([...CAUSES].sort())
    expect(causes((cause) => (DEFAULT_REACTIONS[cause].source ?? '').length < 10)).toEqual([])
  })

  it('holds first for, and at most for', () => {
    const holds = causes((cause) => reactions[cause].holdMs !== undefined).map((cause) => {
      const { holdMs, holdStepsMs, holdMaxMs } = reactions[cause]
      const steps = (holdStepsMs ?? [holdMs ?? 0]).map(durationText).join(', ')
      return `${cause} ${steps} ${durationText(holdMaxMs)}`
    })
    expect(holds).toEqual([
      'rate-limit 5m 4h',
      'concurrency 30s 15m',
      'reputation-ip 1h 4h',
      'reputation-domain 1h 4h',
      'blocklist 4h 1d',
      'authentication 1h 6h',
      'reverse-dns 30m 4h',
      'sender-rejected 30m 4h',
      'tls-required 30m 4h',
      'auth-credentials 5m, 15m, 1h 1h',
      'quota-sender 1h 1d',
      'server-busy 2m 30m',
      'network 1m 30m',
      'unknown 5m 1h',
    ])
  })

  it('holds a blocked address for a day after a 5xx, and a From domain not at all', () => {
    const permanent = causes((c) => reactions[c].permanentHoldMs !== reactions[c].holdMs).map(
      (c) => `${c} ${durationText(reactions[c].permanentHoldMs ?? 0)}`,
    )
    expect(permanent).toEqual([
      'reputation-ip 1d',
      'reputation-domain 1d',
      'blocklist 1d',
      'authentication 0ms',
      'reverse-dns 4h',
      'sender-rejected 0ms',
    ])
  })

  it('slows the rate for what is about volume, and connections for what is about connections', () => {
    const factors = causes((c) => reactions[c].rateFactor < 1 || reactions[c].concurrencyFactor < 1).map(
      (c) => `${c} ${reactions[c].rateFactor} ${reactions[c].concurrencyFactor}`,
    )
    expect(factors).toEqual([
      'rate-limit 0.5 1',
      'concurrency 1 0.5',
      'reputation-ip 0.25 1',
      'reputation-domain 0.25 1',
      'blocklist 0.25 1',
      'unknown 0.8 1',
    ])
  })

  it('counts attempts for what is about the message or its recipient, and only for that', () => {
    expect(causes((cause) => reactions[cause].countsAsAttempt)).toEqual([
      'greylist',
      'content',
      'recipient-unknown',
      'recipient-disabled',
      'mailbox-full',
      'recipient-rate',
      'recipient-unverified',
      'message-too-large',
      'relay-denied',
      'dns',
      'network',
      'protocol',
      'smtputf8',
      'policy-other',
      'unknown',
    ])
  })

  it('keeps mail through a 5xx that speaks of a setting or the session', () => {
    expect(causes((cause) => reactions[cause].onPermanent === 'retry')).toEqual([
      'connection-recycle',
      'too-many-recipients',
      'tls-required',
      'auth-credentials',
      'network',
    ])
  })

  it('calls a person for what waiting does not cure', () => {
    expect(causes((cause) => reactions[cause].alert)).toEqual([
      'reputation-ip',
      'reputation-domain',
      'blocklist',
      'authentication',
      'reverse-dns',
      'sender-rejected',
      'tls-required',
      'auth-credentials',
      'quota-sender',
      'protocol',
    ])
  })
})
