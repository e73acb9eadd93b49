// Who speaks: told by the text, the host, or the recipient's domain.

import { describe, expect, it } from 'vitest'
import { classifyReply } from '../../../src/builtin.ts'
import { NameIndex } from '../../../src/core/classify/provider.ts'

describe('the provider is known by', () => {
  it.each([
    ['its text', '421 [TSS04] Messages deferred', {}, 'yahoo'],
    [
      'its text',
      '550 5.7.1 blocked (S3150) [CO1NAM11FT035.eop-nam11.prod.protection.outlook.com]',
      {},
      'exchange-online',
    ],
    ['its text', '452 4.2.2 over quota - gsmtp', {}, 'gmail'],
    ['its text', '550 5.1.1 Invalid recipient. OFR_416 [416]', {}, 'orange'],
    ['its text', '550 5.7.1 refused LPN007_510', {}, 'laposte'],
    ['its text', '550 5.1.0 sender rejected AUP#I-1310', {}, 'charter'],
    ['its text', '421 too many sessions IB007', {}, 'godaddy'],
    [
      'its text',
      '421 throttled see http://postmaster.comcast.net/smtp-error-codes.php#RL000001',
      {},
      'comcast',
    ],
    ['the host', '450 busy', { mx: 'mx01.mail.icloud.com' }, 'icloud'],
    ['the host, with a dot at its end', '450 busy', { mx: 'MX1.Mail.ICloud.com.' }, 'icloud'],
    [
      'the host that a relay quotes',
      'host mta5.am0.yahoodns.net[192.0.2.1] said: 450 busy',
      { mx: 'smtp.example.net' },
      'yahoo',
    ],
    ['the domain', '450 busy', { domain: 'web.de' }, 'gmx-webde'],
    [
      'which host of a family',
      '550 5.4.5 Daily user sending limit exceeded. - gsmtp',
      { mx: 'smtp.gmail.com' },
      'gmail-submission',
    ],
  ])('%s: %s', (_by, reply, context, provider) => {
    expect(classifyReply(reply, context).provider).toBe(provider)
  })

  it('a name is matched whole: yahoo.co.jp is not Yahoo’s', () => {
    expect(classifyReply('450 busy', { domain: 'yahoo.com' }).provider).toBe('yahoo')
    expect(classifyReply('450 busy', { domain: 'yahoo.co.jp' }).provider).toBe('yahoo-japan')
    expect(classifyReply('450 busy', { domain: 'yahoo.com.example.org' }).provider).toBeUndefined()
    expect(classifyReply('450 busy', { domain: 'notgmail.com' }).provider).toBeUndefined()
  })
})

describe('NameIndex', () => {
  it('prefers the name itself, then the longest suffix, then all', () => {
    const index = new NameIndex<string>()
    for (const pattern of ['*', '*.example.com', '*.mail.example.com', 'mx.mail.example.com'])
      index.add(pattern, pattern)
    expect(index.find('mx.mail.example.com')).toBe('mx.mail.example.com')
    expect(index.find('a.b.mail.example.com')).toBe('*.mail.example.com')
    expect(index.find('www.example.com')).toBe('*.example.com')
    expect(index.find('example.com')).toBe('*')
  })
})
