import fc from 'fast-check'
import ms from 'ms'
import { describe, expect, it } from 'vitest'
import { SteadymailError } from '../../src/core/error.ts'
import { type Duration, duration, durationText, type Rate, rate, startOfDay } from '../../src/core/units.ts'

describe('duration', () => {
  it.each([
    ['500ms', 500],
    ['30s', 30_000],
    ['15m', 900_000],
    ['1.5h', 5_400_000],
    ['5d', 432_000_000],
    ['2w', 1_209_600_000],
    [250, 250],
    [0, 0],
  ])('%s is %i ms', (text, expected) => {
    expect(duration(text)).toBe(expected)
  })

  it.each([
    '20',
    '-5d',
    '5 days',
    '5D',
    '1e3s',
    ' 5d',
    '5d ',
    '5d\n',
    '',
    'd',
    '.5h',
    '5.d',
    '1,5h',
    '٥d',
    'Infinityd',
    Number.NaN,
    Number.POSITIVE_INFINITY,
    -1,
    undefined,
    null,
    true,
    {},
    [5],
  ])('refuses %j', (given) => {
    expect(() => duration(given as string)).toThrow(SteadymailError)
  })

  it('names the path, what was expected and what was given', () => {
    expect(() => duration('5 days', 'policies[0].ttl')).toThrow(
      "policies[0].ttl: expected milliseconds or '<number><ms|s|m|h|d|w>', got '5 days'",
    )
    expect(() => duration('3651d', 'ttl')).toThrow("ttl: expected at most 3650d, got '3651d'")
  })

  it('agrees with the ms package on every form both know', () => {
    const forms = fc.tuple(fc.integer({ min: 0, max: 500 }), fc.constantFrom('ms', 's', 'm', 'h', 'd', 'w'))
    fc.assert(
      fc.property(forms, ([count, unit]) => {
        const text = `${count}${unit}` as Duration & ms.StringValue
        expect(duration(text)).toBe(ms(text))
      }),
    )
  })
})

describe('rate', () => {
  it.each([
    ['20/min', 20, 60_000],
    ['5/s', 5, 1_000],
    ['1000/h', 1_000, 3_600_000],
    ['50000/d', 50_000, 86_400_000],
    ['0.5/s', 0.5, 1_000],
  ])('%s', (text, count, perMs) => {
    expect(rate(text)).toEqual({ count, perMs, text })
  })

  it.each([
    ['20', "policies[0].rate: expected '<number>/<s|min|h|d>', got '20'"],
    ['-5/min', "policies[0].rate: expected '<number>/<s|min|h|d>', got '-5/min'"],
    ['5/m', "policies[0].rate: expected '<number>/<s|min|h|d>', got '5/m'"],
    ['1e3/s', "policies[0].rate: expected '<number>/<s|min|h|d>', got '1e3/s'"],
    ['20 / min', "policies[0].rate: expected '<number>/<s|min|h|d>', got '20 / min'"],
    ['0/min', "policies[0].rate: expected a rate above 0, got '0/min'"],
    ['0.0/min', "policies[0].rate: expected a rate above 0, got '0.0/min'"],
  ])('refuses %s', (text, message) => {
    expect(() => rate(text, 'policies[0].rate')).toThrow(message)
  })

  it('refuses a number', () => {
    expect(() => rate(20 as unknown as string)).toThrow("rate: expected '<number>/<s|min|h|d>', got 20")
  })

  it('is refused by the types too, where they can', () => {
    const durations: Duration[] = ['5d', '1.5h', 500]
    const rates: Rate[] = ['20/min']
    // @ts-expect-error a unit is needed
    durations.push('20')
    // @ts-expect-error no words
    durations.push('5 days')
    // @ts-expect-error a window is needed
    rates.push('20')
    // @ts-expect-error min, not m
    rates.push('20/m')
    expect([durations.length, rates.length]).toEqual([5, 3])
  })
})

describe('durationText', () => {
  it.each([
    [0, '0ms'],
    [250, '250ms'],
    [90_000, '1m 30s'],
    [900_000, '15m'],
    [3_600_000 + 1_000, '1h'],
    [5 * 86_400_000, '5d'],
    [100 * 60_000, '1h 40m'],
    [59_999, '1m'],
  ])('%i ms reads %s', (length, text) => {
    expect(durationText(length)).toBe(text)
  })
})

describe('startOfDay', () => {
  it('agrees with the calendar', () => {
    const moments = fc.date({ min: new Date('1970-01-01'), max: new Date('2399-12-31'), noInvalidDate: true })
    fc.assert(
      fc.property(moments, (moment) => {
        const day = moment.toISOString().slice(0, 10)
        expect(startOfDay(day)).toBe(Date.parse(`${day}T00:00:00Z`))
      }),
    )
  })

  it.each(['2026-02-29', '2026-13-01', '2026-00-10', '2026-1-1', 'tomorrow', '2026-12-32'])(
    '%s is no day',
    (text) => {
      expect(startOfDay(text)).toBeUndefined()
    },
  )
})
