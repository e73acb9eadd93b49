// Replies that mean something else than they seem to.

import { describe, expect, it } from 'vitest'
import { classifyReply } from '../../../src/builtin.ts'
import type { ReplyContext, Verdict } from '../../../src/core/verdict.ts'

const traps: readonly (readonly [why: string, reply: string, context: ReplyContext, expected: Partial<Verdict>])[] = [
  ['5xx that is a throttle', '550 Sender frequency limited. http://service.exmail.qq.com/cgi-bin/help', { mx: 'mx3.qq.com' }, { cause: 'rate-limit', persistence: 'transient' }],
  ['5xx with a window of time', '550 192.0.2.8> This IP has sent too many messages this hour. IB504', {}, { cause: 'rate-limit', persistence: 'transient', scope: 'lane' }],
  ['5xx for the day', '554 This IP has been blocked for the day, for attempting to mail too many invalid recipients. IB113', {}, { cause: 'reputation-ip', persistence: 'transient' }],
  ['4xx that never succeeds', '421 4.7.1 [TS03] All messages from 192.0.2.1 will be permanently deferred; Retrying will NOT succeed.', {}, { cause: 'reputation-ip', persistence: 'permanent', provider: 'yahoo' }],
  ['"permanently" in any other 4xx is only a word', '450 4.7.1 permanently deferred by local rule', {}, { persistence: 'transient' }],
  ['452 too many recipients: the rest at once', '452 4.5.3 Error: too many recipients', { phase: 'rcpt' }, { cause: 'too-many-recipients', persistence: 'transient', scope: 'message' }],
  ['503 is about the conversation', '503 5.5.1 Error: need MAIL command', {}, { cause: 'protocol', persistence: 'permanent', scope: 'message' }],
  ['554 at the greeting is about the sender, not the recipient', '554 5.7.1 You are not allowed to connect.', { phase: 'greeting' }, { cause: 'reputation-ip', scope: 'lane' }],
  ['a bare 554 at the greeting too', '554 Transaction failed', { phase: 'greeting' }, { scope: 'lane', persistence: 'permanent' }],
  ['a 550 that says "temporarily"', '550 5.2.1 Mailbox temporarily disabled', { phase: 'rcpt' }, { cause: 'recipient-disabled', persistence: 'transient' }],
  ['but Gmail’s permanent twin stays so', '550-5.2.1 The user you are trying to contact is receiving mail at a rate\n550 5.2.1 that prevents additional messages from being delivered.', { mx: 'gmail-smtp-in.l.google.com' }, { cause: 'recipient-rate', persistence: 'permanent' }],
  ['"try later" of a refusal by content', "550 5.5.0 Service refuse. Veuillez essayer plus tard. service refused, please try later. LPN005_510", {}, { cause: 'content', persistence: 'permanent' }],
  ['message discarded is gone', 'Domain example.com has exceeded the max emails per hour (3/2 (150%)) allowed. Message discarded.', {}, { cause: 'quota-sender', persistence: 'permanent' }],
  ['basic and enhanced code contradict: the basic one counts', '450 5.1.1 <a@example.com>: user unknown', { phase: 'rcpt' }, { cause: 'recipient-unknown', persistence: 'transient' }],
  ['and the other way round', '550 4.2.2 <a@example.com>: mailbox full', { phase: 'rcpt' }, { cause: 'mailbox-full', persistence: 'permanent' }],
  ['an enhanced code that contradicts the words', '552 5.1.1 5.2.2 sorry, final recipient mailbox is full (chkuser)', {}, { cause: 'mailbox-full' }],
  ['boilerplate alone says nothing', '451 4.7.1 Try again later', { phase: 'rcpt' }, { cause: 'unknown', persistence: 'transient', scope: 'recipient' }],
  ['another server quoted inside', '421 4.1.1 <a@example.com>: Recipient address rejected: unverified address: host example.com[192.0.2.1] said: 550 5.7.1 blocked using zen.spamhaus.org', {}, { cause: 'recipient-unverified', persistence: 'transient' }],
  ['a callout quoted inside', '550-Verification failed for <xyz@example.com>\n550-Called:   192.0.2.43\n550-Response: 550 Unknown local part xyz\n550 Sender verification failed', {}, { cause: 'sender-rejected', scope: 'sender' }],
  ['words in a link are no reason', '421 4.7.0 Come back. See https://example.com/spam/blacklist/user-unknown', {}, { cause: 'unknown' }],
  ['words in an address are no reason', '450 4.7.1 <spam-blacklist-unknown@example.com>: try again later', { phase: 'rcpt' }, { cause: 'unknown' }],
  ['HTML in the reply', '550 <b>Your IP</b> is <i>blacklisted</i>', {}, { cause: 'blocklist' }],
  ['rate limited because unauthenticated', '421 4.7.26 This mail has been rate limited because it is unauthenticated. Gmail requires all senders to authenticate with either SPF or DKIM.', {}, { cause: 'authentication', scope: 'sender' }],
  ['a failing DNS lookup is not a failing check', '451 4.7.24 SPF validation error: DNS temporary failure', { phase: 'mail' }, { cause: 'dns', scope: 'sender' }],
  ['connection rate is a rate', '421 4.3.2 Connection rate limit exceeded.', { phase: 'greeting' }, { cause: 'rate-limit' }],
  ['simultaneous connections are not', '421 4.7.0 Too many connections from 192.0.2.1', { phase: 'greeting' }, { cause: 'concurrency' }],
  ['messages in one connection are neither', '421 too many messages in this connection', { phase: 'mail' }, { cause: 'connection-recycle', scope: 'connection' }],
  ['at one’s own relay a rate speaks of the account', '454 Throttling failure: Maximum sending rate exceeded', { mx: 'email-smtp.us-east-1.amazonaws.com' }, { cause: 'rate-limit', scope: 'sender' }],
  ['German', '554 5.7.1 Ihr Server wurde blockiert: Ihre IP steht auf einer Sperrliste', {}, { cause: 'blocklist' }],
  ['German', '550 Empfänger unbekannt', { phase: 'rcpt' }, { cause: 'recipient-unknown' }],
  ['French', '552 La boîte aux lettres est pleine', {}, { cause: 'mailbox-full' }],
  ['French', '550 Utilisateur inconnu !', { phase: 'rcpt' }, { cause: 'recipient-unknown' }],
  ['Polish', '450 4.7.1 Twój serwer poczty 192.0.2.60 został tymczasowo zablokowany za spam', {}, { cause: 'reputation-ip', scope: 'lane' }],
  ['Spanish', '550 El buzón lleno', {}, { cause: 'mailbox-full' }],
  ['Portuguese', '552 Caixa postal cheia', {}, { cause: 'mailbox-full' }],
  ['Chinese providers’ English', '554 rbl deny.', { phase: 'greeting' }, { cause: 'blocklist' }],
] // biome-ignore format: a table

describe('traps', () => {
  it.each(traps)('%s: %s', (_why, reply, context, expected) => {
    expect(classifyReply(reply, context)).toMatchObject(expected)
  })
})

describe('what is never said without a reason', () => {
  it('a 4xx is for good only by a provider’s rule', () => {
    for (const words of [
      'permanent failure',
      'will not succeed',
      'user unknown',
      'rejected for ever',
      'spam',
      'do not retry',
      'discarded',
    ])
      for (const code of [421, 450, 451, 452, 454, 471])
        expect(classifyReply(`${code} 5.0.0 ${words}`).persistence, `${code} ${words}`).toBe('transient')
  })

  it('a 5xx is for now only by a rule, a volume, a time or the word temporary', () => {
    for (const words of [
      'try again later',
      'service unavailable',
      'please retry',
      'server error',
      'busy',
      'rejected',
    ])
      expect(classifyReply(`550 ${words}`).persistence, words).toBe('permanent')
  })

  it('a verdict names its rule, its layer and what to do', () => {
    const verdict = classifyReply('550 xyzzy')
    expect(verdict).toMatchObject({ cause: 'unknown', layer: 'class', rule: 'class-5' })
    expect(verdict.advice).toMatch(/\.$/)
  })
})
