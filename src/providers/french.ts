// The French mailbox providers: Orange (OFR_), Laposte (LPN), SFR and Free. Their codes end in the same three digits.

import type { Cause, Scope } from '../core/cause.ts'
import type { ProviderPolicy, ReplyRule } from '../core/policy.ts'
import { READ, SHAPING, sourced } from './sourced.ts'

const ORANGE = 'https://www.postmastery.com/orange-postmaster-smtp-error-codes-ofr/'
const LAPOSTE = 'https://www.postmastery.com/laposte-net-postmaster-smtp-error-codes-lpn/'

// What the last three digits of OFRxxx_yyy and LPNxxx_yyy mean.
const CODES: readonly (readonly [digits: string, name: string, cause: Cause, sample: string, scope?: Scope])[] = [
  ['100|101|102', 'listed', 'blocklist', 'IP blocked by Abusix'],
  ['103|105|107|108|109|201|423|424|503|999', 'refused', 'reputation-ip', 'Service refuse. Veuillez essayer plus tard. Service refused, please try later.'],
  ['104', 'connections', 'concurrency', 'Trop de connexions, veuillez verifier votre configuration. Too many connections, slow down.'],
  ['305|402', 'login', 'auth-credentials', 'Authentification requise. Authentication Required.'],
  ['401|517|518|515|519', 'authentication', 'authentication', 'SPF: example.com is not allowed to send mail.'],
  ['403|405|415|421', 'sender', 'sender-rejected', 'Emetteur invalide. Invalid Sender.'],
  ['416|418', 'recipient', 'recipient-unknown', 'Adresse d au moins un destinataire invalide. Invalid recipient.'],
  ['417', 'full', 'mailbox-full', 'Boite du destinataire pleine. Recipient overquota.'],
  ['420|426', 'disabled', 'recipient-disabled', 'Boite du destinataire archivee. Archived recipient.'],
  ['506|510|511|513', 'content', 'content', 'Mail rejete. Mail rejected.'],
  ['514', 'size', 'message-too-large', 'Taille limite du message atteinte'],
  ['630', 'client', 'reputation-ip', 'Client host rejected'],
] // biome-ignore format: one line each

function digits(mark: string, from: string, url: string): ReplyRule[] {
  const rule = sourced(from, READ, url)
  return CODES.map(([ends, name, cause, sample, scope]) =>
    rule(
      `${mark.toLowerCase()}-${name}`,
      cause,
      new RegExp(`\\b${mark}(?:[A-Z0-9]{0,5})[_-](?:${ends})\\b`, 'i'),
      `${cause === 'reputation-ip' || cause === 'concurrency' ? '421' : '550'} ${sample} ${mark}006_${ends.slice(0, 3)} [${ends.slice(0, 3)}]`,
      // "try later" beside 510 is said of content that will not pass later either.
      {
        ...(scope === undefined ? {} : { scope }),
        ...(ends.includes('510') ? { code: '5xx' as const, persistence: 'permanent' as const } : {}),
      },
    ),
  )
}

export const orange: ProviderPolicy = {
  name: 'orange',
  domains: ['orange.fr', 'wanadoo.fr', 'voila.fr'],
  mx: ['*.orange.fr', '*.wanadoo.fr'],
  marks: [/\bOFR(?:\d{3})?_\d{3}\b|\bOUK_\d{3}\b/i, /\bmwinf\w{2,6}\b/],
  url: ORANGE,
  lane: 'orange',
  concurrency: 2,
  messagesPerConnection: 100,
  source: 'Orange postmaster page and Postmastery, www.postmastery.com',
  date: READ,
  rules: [
    sourced('Orange error codes, Postmastery', READ, ORANGE)(
      'orange-spf',
      'authentication',
      /SPF\/DNS de votre nom de domaine/i,
      '421 smtp.orange.fr [192.0.2.1] Emetteur invalide, Veuillez verifier la configuration SPF/DNS de votre nom de domaine. Invalid Sender. SPF check failed',
    ),
    sourced('Orange error codes, Postmastery', READ, ORANGE)(
      'ofr-later',
      'unknown',
      /\bOFR\d{0,3}_505\b/i,
      '421 4.2.0 Service refuse. Veuillez essayer plus tard. Service refused, please try later. OFR005_505 [505]',
      { scope: 'message', retryAfter: '1h' },
    ),
    ...digits('OFR', 'Orange error codes, Postmastery', ORANGE),
  ],
}

export const laposte: ProviderPolicy = {
  name: 'laposte',
  domains: ['laposte.net'],
  mx: ['*.laposte.net'],
  marks: [/\bLPN(?:[A-Z]{3}|\d{3})?_?\d{3}\b/],
  url: LAPOSTE,
  concurrency: 2,
  messagesPerConnection: 100,
  source: 'Postmastery, Laposte.net postmaster page, www.postmastery.com',
  date: READ,
  rules: digits('LPN', 'Laposte.net error codes, Postmastery', LAPOSTE),
}

export const sfr: ProviderPolicy = {
  name: 'sfr',
  domains: [
    'sfr.fr',
    'neuf.fr',
    'cegetel.net',
    'club-internet.fr',
    'numericable.fr',
    'noos.fr',
    '9online.fr',
  ],
  mx: ['*.sfr.fr', '*.neuf.fr'],
  marks: [/\bSFR_IN_\d{3}\b/, /\bmsfrf\d{3,5}\b/],
  url: 'https://www.postmastery.com/all-about-isp-sfr-and-smtp-error-codes-sfr_in_xxx/',
  rules: [
    sourced('SFR error codes, Postmastery', READ)(
      'sfr-blocked',
      'reputation-ip',
      /\bSFR_IN_\d{3}\b/,
      '421 4.7.1 Service refuse. Please try later. SFR_IN_103',
      { code: '4xx', retryAfter: '2h' },
    ),
  ],
}

const free = sourced('Free postmaster page, postmaster.free.fr', READ, 'http://postmaster.free.fr/')

export const freeFr: ProviderPolicy = {
  name: 'free',
  domains: [
    'free.fr',
    'aliceadsl.fr',
    'libertysurf.fr',
    'online.fr',
    'freesbee.fr',
    'infonie.fr',
    'worldonline.fr',
  ],
  mx: ['*.free.fr', '*.proxad.net'],
  marks: [/\bpostmaster\.free\.fr/],
  url: 'http://postmaster.free.fr/',
  source: SHAPING,
  date: READ,
  rules: [
    free(
      'free-ip',
      'reputation-ip',
      /too many (?:spams?|errors) from your ip/i,
      [
        '421 Too many spams from your IP (192.0.2.1), please visit http://postmaster.free.fr/',
        '451 too many errors from your ip (192.0.2.1), please visit http://postmaster.free.fr/',
      ],
      { retryAfter: '1h' },
    ),
  ],
}
