// What a text says before anybody asks what it means: codes, phase, host, and how it is shown.

import { describe, expect, it } from 'vitest'
import { parseReply, showReply } from '../../../src/core/classify/parse.ts'

describe('parseReply', () => {
  it('reads code and enhanced code of a plain reply', () => {
    expect(parseReply('550 5.1.1 <a@example.com>: user does not exist')).toMatchObject({
      code: 550,
      enhanced: '5.1.1',
      phase: 'unknown',
    })
  })

  it('takes the phase it is given, else the one that the log line names', () => {
    expect(parseReply('550 5.7.1 Rejected (in reply to end of DATA command)').phase).toBe('dot')
    expect(parseReply('550 5.7.1 Rejected (in reply to end of DATA command)', 'rcpt').phase).toBe('rcpt')
    expect(parseReply('host mx.example.net[192.0.2.1] refused to talk to me: 421 too busy').phase).toBe(
      'greeting',
    )
    expect(
      parseReply('SMTP error from remote mail server after MAIL FROM:<a@example.com> SIZE=2022: 553 no')
        .phase,
    ).toBe('mail')
  })

  it('keeps all lines of a multi-line reply', () => {
    const text = '550-5.2.1 The user you are trying to contact\n550 5.2.1 is receiving mail too quickly'
    expect(parseReply(text)).toMatchObject({ code: 550, enhanced: '5.2.1', text })
  })

  it.each([
    ['host mx.example.com[192.0.2.1] said: 421 4.7.0 Try later', 421, '4.7.0'],
    ['smtp;550 5.1.1 no such user', 550, '5.1.1'],
    ["Remote Server returned '554 5.7.1 <a@example.com>: Relay access denied'", 554, '5.7.1'],
    [
      'Connected to 192.0.2.1 but sender was rejected. Remote host said: 553 5.1.8 no such domain',
      553,
      '5.1.8',
    ],
    ['<a@example.com>: host mx.example.com said: 452-4.2.2 full (in reply to RCPT TO command)', 452, '4.2.2'],
  ])('finds the reply behind a log prefix: %s', (text, code, enhanced) => {
    expect(parseReply(text)).toMatchObject({ code, enhanced })
  })

  it('a leading code wins over the one of a server that is quoted', () => {
    expect(
      parseReply('421 4.1.1 unverified address: host mx.example.com said: 550 5.1.1 unknown'),
    ).toMatchObject({ code: 421, enhanced: '4.1.1' })
  })

  it('takes neither addresses nor version numbers for enhanced codes', () => {
    expect(parseReply('421 Messages from 5.1.1.7 deferred - 4.16.55.1').enhanced).toBeUndefined()
    expect(parseReply('550 see version 12.5.1.1').enhanced).toBeUndefined()
  })

  it('finds qmail’s code at the end', () => {
    expect(parseReply("Sorry, I couldn't find any host named example.com. (#5.1.2)").enhanced).toBe('5.1.2')
  })

  it('leaves out what a bare sentence does not say', () => {
    const reply = parseReply('Unrouteable address')
    expect('code' in reply || 'enhanced' in reply).toBe(false)
  })

  it('names the host that a relay quotes', () => {
    expect(parseReply('host MX1.example.com[2001:db8::1] said: 450 busy').host).toBe('mx1.example.com')
  })

  it('looks at no more than 4,096 characters', () => {
    expect(parseReply(`550 ${'x'.repeat(100_000)}`).text.length).toBe(4096)
  })
})

describe('showReply', () => {
  it('replaces control and direction characters', () => {
    expect(showReply('550 \u001b[31mred\u0007\r\n\u202egnp.exe')).toBe('550  [31mred gnp.exe')
  })

  it('shortens long text', () => {
    expect(showReply('x'.repeat(90), 10)).toBe('xxxxxxxxx…')
  })
})
