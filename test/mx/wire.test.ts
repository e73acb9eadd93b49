import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { fitsOnWire, readDsn, readOffers, replyReader, stuffer } from '../../src/mx/wire.ts'

function stuffed(...pieces: string[]): string {
  const safe = stuffer()
  return (
    pieces.map((piece) => Buffer.from(safe.push(Buffer.from(piece, 'latin1'))).toString('latin1')).join('') +
    safe.end()
  )
}

describe('the body on the wire', () => {
  it('doubles a dot that begins a line, and ends with a dot of its own', () => {
    expect(stuffed('a\r\n.\r\n..b\r\n')).toBe('a\r\n..\r\n...b\r\n.\r\n')
    expect(stuffed('.')).toBe('..\r\n.\r\n')
  })

  it('leaves a clean body as it is, without a copy', () => {
    const body = Buffer.from('a\r\nb.\r\n')
    expect(stuffer().push(body)).toBe(body)
  })

  it('makes CRLF of every bare CR and LF, so that no server sees an end of data within', () => {
    expect(stuffed('a\n.\nb')).toBe('a\r\n..\r\nb\r\n.\r\n')
    expect(stuffed('a\r.\rb')).toBe('a\r\n..\r\nb\r\n.\r\n')
    expect(stuffed('a\r\n.\rMAIL')).toBe('a\r\n..\r\nMAIL\r\n.\r\n')
    expect(stuffed('a\r')).toBe('a\r\n.\r\n')
  })

  it('holds for any octets, however they are cut', () => {
    const text = fc.string({ unit: fc.constantFrom('a', '.', '\r', '\n'), maxLength: 40 })
    fc.assert(
      fc.property(text, fc.array(fc.nat(40), { maxLength: 4 }), (body, cuts) => {
        const marks = [0, ...[...cuts].sort((x, y) => x - y), body.length]
        const pieces = marks.slice(1).map((mark, i) => body.slice(marks[i], Math.max(mark, marks[i] ?? 0)))
        const wire = stuffed(...pieces)
        expect(wire).not.toMatch(/(?<!\r)\n|\r(?!\n)/)
        expect(wire.indexOf('\r\n.\r\n', 0)).toBe(wire === '.\r\n' ? -1 : wire.length - 5)
        const unstuffed = `\r\n${wire.slice(0, -3)}`.replaceAll('\r\n.', '\r\n').slice(2)
        expect(unstuffed.replace(/\r\n$/, '')).toBe(body.replace(/\r\n|\r|\n/g, '\r\n').replace(/\r\n$/, ''))
      }),
      { numRuns: 2000 },
    )
  })
})

describe('replies', () => {
  it('come out whole, however they arrive', () => {
    const said = '250-mx.test\r\n250-SIZE 1000\r\n250 DSN\r\n421 4.7.0 bye\n'
    for (const step of [1, 2, 3, 7, said.length]) {
      const reader = replyReader()
      const replies = []
      for (let at = 0; at < said.length; at += step)
        replies.push(...(reader.feed(said.slice(at, at + step)) ?? []))
      expect(replies).toEqual([
        { code: 250, text: '250-mx.test\n250-SIZE 1000\n250 DSN' },
        { code: 421, text: '421 4.7.0 bye' },
      ])
      expect(reader.pending).toBe(false)
    }
  })

  it('are shown as UTF-8, and octet by octet where they are not', () => {
    const octets = (text: string) => Buffer.from(text, 'utf8').toString('latin1')
    expect(replyReader().feed(octets('550 gelöscht\r\n'))?.[0]?.text).toBe('550 gelöscht')
    expect(replyReader().feed('550 gel\xf6scht\r\n')?.[0]?.text).toBe('550 gelöscht')
  })

  it('that are none end the session: a web server, a line without a code, a reply without end', () => {
    expect(replyReader().feed('HTTP/1.1 400 Bad Request\r\n')).toBeUndefined()
    expect(replyReader().feed('2500 ok\r\n')).toBeUndefined()
    expect(replyReader().feed('x'.repeat(70_000))).toBeUndefined()
    const reader = replyReader()
    let lines = 0
    while (reader.feed('250-more and more\r\n') !== undefined) lines++
    expect(lines).toBeLessThan(5000)
  })

  it('are kept to what a person would read', () => {
    expect(replyReader().feed(`550 ${'x'.repeat(50_000)}\r\n`)?.[0]?.text.length).toBeLessThan(5000)
  })

  it('never break the reader', () => {
    fc.assert(
      fc.property(fc.array(fc.string({ unit: 'binary', maxLength: 30 }), { maxLength: 10 }), (chunks) => {
        const reader = replyReader()
        for (const chunk of chunks) if (reader.feed(chunk) === undefined) return
      }),
    )
  })
})

describe('EHLO', () => {
  it('tells what the server offers, whatever its spelling', () => {
    const offers = readOffers(
      '250-mx.test at your service\n250-size 1000\n250-8BITMIME\n250 AUTH=PLAIN LOGIN',
    )
    expect([...offers.keywords]).toEqual(['SIZE', '8BITMIME', 'AUTH'])
    expect(offers.maxSize).toBe(1000)
  })
})

describe('addresses and parameters', () => {
  it('cannot become commands', () => {
    for (const address of ['a@b.test>\r\nRCPT TO:<x@y.test', 'a b@c.test', 'a@b.test\0', '<a@b.test>']) {
      expect(fitsOnWire(address)).toBe(false)
    }
    expect(fitsOnWire('"a b"@c.test')).toBe(true)
    expect(fitsOnWire('дима@почта.рф')).toBe(true)
  })

  it('of DSN go as RFC 3461 wants them', () => {
    expect(
      readDsn({
        id: 'order 42=x+y',
        return: 'headers',
        notify: ['success', 'failure'],
        recipient: 'a+b@c.test',
      }),
    ).toEqual({
      ret: 'HDRS',
      envid: 'order+2042+3Dx+2By',
      notify: 'SUCCESS,FAILURE',
      orcpt: 'rfc822;a+2Bb@c.test',
    })
    expect(readDsn({ notify: 'never,delay' })).toMatch(/dsn\.notify: expected/)
    expect(readDsn({ ret: 'all' })).toMatch(/dsn\.ret: expected/)
    expect(readDsn(undefined)).toBeUndefined()
  })
})
