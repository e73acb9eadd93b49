import { describe, expect, it } from 'vitest'
import { classifyReply } from '../../src/builtin.ts'
import { MINUTE } from '../../src/core/units.ts'
import { type ReceiverSpec, receiver } from '../../src/testing/models.ts'

const START = 1_767_225_600_000
const one = (recipient = 'a@receiver.example', connections = 1) => ({
  sender: 'news@sender.example',
  recipients: [recipient],
  connections,
})

/** How many of `attempts`, one every `everyMs`, are accepted. */
function accepted(spec: ReceiverSpec | readonly ReceiverSpec[], attempts: number, everyMs: number): number {
  const peer = receiver(spec, START)
  let count = 0
  for (let i = 0; i < attempts; i += 1) {
    if (peer.answer(START + i * everyMs, one(`r${i}@receiver.example`))[0] === undefined) count += 1
  }
  return count
}

describe('a modelled receiver', () => {
  it('with a sliding window takes its limit in any minute, and never minds what it refused', () => {
    expect(accepted({ kind: 'sliding-window', limit: '20/min' }, 100, 1)).toBe(20)
    expect(accepted({ kind: 'sliding-window', limit: '20/min' }, 100, 3_000)).toBe(100)
    expect(accepted({ kind: 'sliding-window', limit: '20/min' }, 600, 1_000)).toBe(200)
  })

  it('with a token bucket takes its burst and then what trickles in', () => {
    expect(accepted({ kind: 'token-bucket', rate: '60/min', burst: 10 }, 100, 100)).toBe(19)
  })

  it('that counts retries takes no more from one who keeps knocking', () => {
    expect(accepted({ kind: 'counts-retries', limit: '20/min' }, 600, 1_000)).toBe(20)
    expect(accepted({ kind: 'counts-retries', limit: '20/min' }, 600, 3_000)).toBe(600)
  })

  it('that greylists takes the second try of a triplet after its delay', () => {
    const peer = receiver({ kind: 'greylist', delay: '5m' }, START)
    expect(peer.answer(START, one())[0]).toMatchObject({ phase: 'rcpt', violation: false })
    expect(peer.answer(START + 4 * MINUTE, one())[0]).toBeDefined()
    expect(peer.answer(START + 5 * MINUTE, one())[0]).toBeUndefined()
    expect(peer.answer(START + 5 * MINUTE, one('b@receiver.example'))[0]).toBeDefined()
  })

  it('refuses connections above its limit', () => {
    const peer = receiver({ kind: 'max-connections', limit: 2 }, START)
    expect(peer.answer(START, one('a@x', 2))[0]).toBeUndefined()
    expect(peer.answer(START, one('a@x', 3))[0]).toMatchObject({ phase: 'greeting', violation: true })
  })

  it('with a reputation takes less from one who passed the limit, and more again after good time', () => {
    const spec: ReceiverSpec = { kind: 'reputation', limit: '100/min', recovery: '1h' }
    const peer = receiver(spec, START)
    const burst = (at: number) =>
      Array.from({ length: 120 }, () => peer.answer(at, one())[0]).filter((a) => !a).length
    expect(burst(START)).toBe(100)
    expect(burst(START + 2 * MINUTE)).toBeLessThan(50)
    expect(burst(START + 120 * MINUTE)).toBe(100)
  })

  it('is out for as long as the outage lasts', () => {
    const peer = receiver({ kind: 'outage', from: '10m', lasts: '5m', how: 'refused' }, START)
    expect(peer.answer(START, one())[0]).toBeUndefined()
    expect(peer.answer(START + 10 * MINUTE, one())[0]).toMatchObject({ errno: 'ECONNREFUSED' })
    expect(peer.clearAt(START + 10 * MINUTE, one())).toBe(START + 15 * MINUTE)
    expect(peer.answer(START + 15 * MINUTE, one())[0]).toBeUndefined()
  })

  it('made of several lets the first that refuses answer, recipient by recipient', () => {
    const peer = receiver(
      [
        { kind: 'greylist', delay: 0 },
        { kind: 'sliding-window', limit: '1/min' },
      ],
      START,
    )
    const both = { ...one(), recipients: ['a@x', 'b@x'] }
    expect(peer.answer(START, both).map((a) => a?.phase)).toEqual(['rcpt', 'rcpt'])
    expect(peer.answer(START + 1, both).map((a) => a?.phase)).toEqual([undefined, 'mail'])
  })

  it('says what the classifier understands as what it is', () => {
    const causes: Record<string, ReceiverSpec> = {
      greylist: { kind: 'greylist' },
      concurrency: { kind: 'max-connections', limit: 1 },
      'server-busy': { kind: 'outage', from: 0, lasts: '1h' },
    }
    const limited: readonly ReceiverSpec[] = [
      { kind: 'sliding-window', limit: '1/h' },
      { kind: 'counts-retries', limit: '1/h' },
      { kind: 'token-bucket', rate: '1/h', burst: 1 },
      { kind: 'reputation', limit: '1/h' },
    ]
    const meaning = (spec: ReceiverSpec) => {
      const peer = receiver(spec, START)
      peer.answer(START, one('a@x', 2))
      const refusal = peer.answer(START, one('b@x', 2))[0]
      return classifyReply(refusal?.reply ?? '', {
        domain: 'receiver.example',
        ...(refusal && { phase: refusal.phase }),
      })
    }
    for (const [cause, spec] of Object.entries(causes)) expect(meaning(spec).cause).toBe(cause)
    for (const spec of limited) expect(meaning(spec)).toMatchObject({ cause: 'rate-limit', scope: 'lane' })
  })

  it('names the field of a description that makes no sense', () => {
    const broken: readonly (readonly [unknown, string])[] = [
      [{ kind: 'sliding' }, 'receiver.kind'],
      [{ kind: 'sliding-window', limit: '20' }, 'receiver.limit'],
      [{ kind: 'token-bucket', rate: '1/s', burst: 0 }, 'receiver.burst'],
      [[{ kind: 'greylist', delay: 'soon' }], 'receiver[0].delay'],
      [[], 'receiver'],
    ]
    for (const [spec, path] of broken)
      expect(() => receiver(spec as ReceiverSpec, START)).toThrow(expect.objectContaining({ path }))
  })
})
