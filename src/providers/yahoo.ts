// Yahoo, AOL, Verizon and AT&T mail, all answered by *.yahoodns.net. Not yahoo.co.jp, which is another company's.

import type { ProviderPolicy } from '../core/policy.ts'
import { READ, SHAPING, sourced } from './sourced.ts'

const URL = 'https://senders.yahooinc.com/smtp-error-codes/'
const rule = sourced('Yahoo Sender Hub, SMTP error codes', READ, URL)

const aol = sourced('AOL postmaster error codes, as kept in ZoneMTA bounces.txt', READ, URL)

export const yahoo: ProviderPolicy = {
  name: 'yahoo',
  domains: [
    'yahoo.com', 'yahoo.co.uk', 'yahoo.fr', 'yahoo.de', 'yahoo.it', 'yahoo.es', 'yahoo.ca', 'yahoo.com.br', 'yahoo.com.ar', 'yahoo.com.mx', 'yahoo.com.au', 'yahoo.co.in', 'yahoo.in', 'yahoo.co.id', 'yahoo.com.ph', 'yahoo.com.sg', 'yahoo.com.vn', 'yahoo.com.hk', 'yahoo.com.tw', 'yahoo.co.nz', 'yahoo.ie', 'yahoo.gr', 'yahoo.ro', 'yahoo.pl', 'yahoo.se', 'yahoo.no', 'yahoo.dk', 'yahoo.fi', 'yahoo.be', 'yahoo.at', 'yahoo.nl', 'yahoo.cz', 'yahoo.hu', 'yahoo.pt', 'yahoo.co.th', 'yahoo.com.my', 'yahoo.com.tr', 'yahoo.cl', 'yahoo.com.co', 'yahoo.com.pe', 'yahoo.com.ve', 'yahoo.co.za', 'yahoo.co.il',
    'ymail.com', 'rocketmail.com', 'myyahoo.com', 'y7mail.com', 'yahoo.cn',
    'aol.com', 'aol.co.uk', 'aol.de', 'aol.fr', 'aol.it', 'aol.es', 'aol.se', 'aol.pl', 'aim.com', 'netscape.net', 'cs.com', 'compuserve.com', 'love.com', 'wow.com', 'games.com', 'ygm.com', 'verizon.net',
    'att.net', 'ameritech.net', 'bellsouth.net', 'currently.com', 'flash.net', 'nvbell.net', 'pacbell.net', 'prodigy.net', 'sbcglobal.net', 'snet.net', 'swbell.net', 'wans.net', 'worldnet.att.net',
  ], // biome-ignore format: a list of names
  mx: ['*.yahoodns.net'],
  marks: [
    /\b(?:RTR|HVU|RLY|DYN|CON):[A-Z]{1,2}\d?\b|postmaster\.info\.aol\.com/,
    /\[(?:TSS?\d\d|IPTS\d\d|BL2\d|PH\d\d|AU\d\d)\]/,
    /\bpostmaster\.yahoo(?:inc)?\.com|\bsenders\.yahooinc\.com|\.yahoo\.com\b.{0,12}(?:\[|$)/,
    /\bdelivery error: dd\b/,
  ],
  url: URL,
  lane: 'yahoo',
  messagesPerConnection: 20,
  source: SHAPING,
  date: READ,
  rules: [
    rule(
      'yahoo-permanently-deferred',
      'reputation-ip',
      /will be permanently deferred|Retrying will NOT succeed/i,
      [
        '421 4.7.1 [TS03] All messages from 192.0.2.1 will be permanently deferred; Retrying will NOT succeed. See http://postmaster.yahoo.com/421-ts03.html',
        '553 5.7.2 [TSS09] All messages from 192.0.2.25 will be permanently deferred; Retrying will NOT succeed.',
      ],
      {
        persistence: 'permanent',
        advice:
          'Yahoo will not take mail from this IP until its owner mends the cause: do not retry, and write to its postmaster after 48 hours.',
      },
    ),
    rule(
      'yahoo-ts01',
      'reputation-ip',
      /\[(?:TSS?01|TSS?02)\]/,
      '421 4.7.0 [TS01] Messages from 192.0.2.1 temporarily deferred due to user complaints - 4.16.55.1; see http://postmaster.yahoo.com/421-ts01.html',
      { code: '4xx', retryAfter: '2h' },
    ),
    rule(
      'yahoo-tss05',
      'rate-limit',
      /\[(?:TSS?|IPTS)05\]/,
      '421 4.7.0 [TSS05] Messages from 192.0.2.1 temporarily deferred due to unexpected volume or user complaints - 4.16.55.1',
      { code: '4xx', retryAfter: '4h' },
    ),
    rule(
      'yahoo-tss04',
      'rate-limit',
      /\[(?:TSS?|IPTS)04\]/,
      '421 4.7.0 [TSS04] Messages from 192.0.2.1 temporarily deferred due to unexpected volume or user complaints - 4.16.55.1; see https://postmaster.yahooinc.com/error-codes',
      { code: '4xx', retryAfter: '2h' },
    ),
    rule(
      'yahoo-deferred',
      'rate-limit',
      /temporarily deferred due to unexpected volume/i,
      '421 4.7.0 [TSS06] Messages from 192.0.2.1 temporarily deferred due to unexpected volume or user complaints',
      { code: '4xx', retryAfter: '2h' },
    ),
    rule(
      'yahoo-unresolvable-from',
      'sender-rejected',
      /unresolvable RFC ?\.?532[12] (?:from )?domain|unresolvable RFC\.5321 from/i,
      '451 Message temporarily deferred due to unresolvable RFC.5321 from domain. See https://senders.yahooinc.com/error-codes#unresolvable-from-domain',
      { scope: 'sender' },
    ),
    rule(
      'yahoo-spamhaus',
      'blocklist',
      /\[BL2\d\]|\[TSS0?7\]/,
      "553 5.7.1 [BL21] Connections will not be accepted from 192.0.2.1, because the ip is in Spamhaus's list; see http://postmaster.yahoo.com/550-bl23.html",
    ),
    rule(
      'yahoo-phishing',
      'content',
      /\[PH\d\d\]/,
      '554 Message not allowed - [PH01] Email not accepted for policy reasons. Please visit https://postmaster.yahooinc.com/error-codes',
    ),
    rule(
      'yahoo-unauthenticated',
      'authentication',
      /5\.7\.9 |\(AU\d\d\)|\[AU\d\d\]|because the sender is unauthenticated/,
      [
        '554 5.7.9 Message not accepted for policy reasons. See https://postmaster.yahooinc.com/error-codes',
        '554 5.7.5 (AU01) Message not accepted for policy reasons.',
      ],
      { code: [550, 554] },
    ),
    rule(
      'yahoo-no-account',
      'recipient-unknown',
      /doesn't have an? \S{1,60} account|is no longer valid|mailbox not found/i,
      "554 delivery error: dd This user doesn't have a yahoo.com account (a@yahoo.com) [-9] - mta1.mail.yahoo.com",
    ),
    rule(
      'yahoo-disabled',
      'recipient-disabled',
      /\(554\.30\)|This mailbox is disabled/i,
      '554 delivery error: dd Sorry, your message to a@yahoo.com cannot be delivered. This mailbox is disabled (554.30). - mta1.mail.yahoo.com',
    ),
    rule(
      'yahoo-not-allowed',
      'policy-other',
      /Message not allowed - \[\d{3}\]/,
      '554 Message not allowed - [299]',
      { scope: 'message' },
    ),
    aol(
      'aol-dynamic',
      'reputation-ip',
      /\bRTR:(?:BB|DU|SC|BL)\b|\bCON:B1\b/,
      '554- (RTR:DU)  http://postmaster.info.aol.com/errors/554rtrdu.html\n554  Connecting IP: 192.0.2.6',
    ),
    aol(
      'aol-rdns',
      'reverse-dns',
      /\bRTR:RD\b/,
      '554 (RTR:RD)  http://postmaster.info.aol.com/errors/554rtrrd.html',
    ),
    aol(
      'aol-content',
      'content',
      /\bHVU:B\d\b|\bRLY:(?:BD|CH|CS)\b|\bRTR:CH\b/,
      '554 (HVU:B1) http://postmaster.info.aol.com/errors/554hvub1.html',
    ),
    aol(
      'aol-rate',
      'rate-limit',
      /\bDYN:T\d\b|\bRLY:B[12]\b/,
      '421 (DYN:T1) http://postmaster.info.aol.com/errors/421dynt1.html',
      { persistence: 'transient' },
    ),
    rule(
      'yahoo-connections',
      'concurrency',
      /too many connections|\[TS02\] connection/i,
      '421 4.7.0 Too many connections from your host. See https://senders.yahooinc.com/error-codes',
      {},
    ),
  ],
}

export const yahooJapan: ProviderPolicy = {
  name: 'yahoo-japan',
  domains: ['yahoo.co.jp', 'ybb.ne.jp'],
  mx: ['*.mail.yahoo.co.jp', '*.yahoo.co.jp'],
  concurrency: 2,
  messagesPerConnection: 20,
  source: SHAPING,
  date: READ,
  rules: [
    {
      id: 'yahoo-japan-vs98',
      text: /VS98-IP\d/,
      cause: 'rate-limit',
      persistence: 'transient',
      retryAfter: '1h',
      source: SHAPING,
      date: READ,
      samples: ['553 Mail from 192.0.2.1 not allowed - VS98-IP0 deferred'],
    },
  ],
}
