import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { parsePolicy } from '../../src/mx/sts.ts'

const text = (...lines: string[]) => lines.join('\r\n')

describe('the text of an MTA-STS policy (RFC 8461 §3.2)', () => {
  it('is read whatever its line ends, spaces and unknown fields', () => {
    expect(
      parsePolicy(
        'version: STSv1\nmode:enforce\nmx: MX1.acme.test \nmx: *.acme.test\nmax_age: 86400\nnew: x\n',
        '1',
      ),
    ).toEqual({ id: '1', mode: 'enforce', mx: ['mx1.acme.test', '*.acme.test'], maxAge: 86_400 })
    expect(parsePolicy(text('version: STSv1', 'mode: none', 'max_age: 60'), '2')).toMatchObject({
      mode: 'none',
    })
  })

  it.each([
    ['another version', text('version: STSv2', 'mode: enforce', 'mx: a.test', 'max_age: 60')],
    ['another mode', text('version: STSv1', 'mode: strict', 'mx: a.test', 'max_age: 60')],
    ['no host', text('version: STSv1', 'mode: enforce', 'max_age: 60')],
    ['no age', text('version: STSv1', 'mode: enforce', 'mx: a.test')],
    ['an age that is none', text('version: STSv1', 'mode: enforce', 'mx: a.test', 'max_age: -1')],
    ['nothing', ''],
  ])('with %s is none', (_what, policy) => {
    expect(parsePolicy(policy, '1')).toBeUndefined()
  })

  it('holds for a year at most, and for no more hosts than anybody has', () => {
    const hosts = Array.from({ length: 5000 }, (_, i) => `mx: mx${i}.test`)
    const policy = parsePolicy(text('version: STSv1', 'mode: testing', 'max_age: 9999999999', ...hosts), '1')
    expect(policy?.maxAge).toBe(31_557_600)
    expect(policy?.mx?.length).toBe(100)
  })

  it('never breaks the reader', () => {
    fc.assert(fc.property(fc.string({ unit: 'binary' }), (policy) => void parsePolicy(policy, '1')))
  })
})
