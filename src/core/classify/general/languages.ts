// General rules in other languages than English: mailboxes that are full or unknown, limits, servers that are away, spam.
// The text is read without accents. Not here: words that the rules of a cause already know beside the English ones.

import { general, HOSTERS } from './rule.ts'

export const otherLanguages = [
  general(
    'full-other-languages',
    'mailbox-full',
    /\bspeichervolumen|\bpostfach (?:\w{1,14} ){0,3}(?:voll|uberfullt|ueberfuellt)\b|\bmailbox (?:is )?vol\b|\bexhausted (?:\w{1,10} ){0,2}(?:storage|space|quota)|\bbuzon\b[a-z ]{0,40}\b(?:lleno|llena|excedid\w)|\bcuota\b[a-z ]{0,30}\b(?:excedida|superada|llena)|\bespacio insuficiente|\bcaixa\b[a-z ]{0,40}\b(?:cheia|lotada)|\bcota\b[a-z ]{0,30}\b(?:excedida|ultrapassada)|\bcasella\b[a-z ]{0,40}\b(?:piena|esaurit\w)|\bspazio (?:\w{1,12} ){0,2}(?:esaurito|insufficiente)|\bboite\b[a-z ]{0,40}\b(?:pleine|saturee)|\bespace (?:\w{1,12} ){0,2}insuffisant|\bquota\b[a-z ]{0,30}\b(?:depasse|atteint|superata|superato)|\b(?:pojemnosc|pojemnosci|limit miejsca)\b[a-z ]{0,40}\bskrzyn|\bskrzynka\b[a-z ]{0,40}\b(?:pelna|przepelniona|zapelniona)|\bschranka\b[a-z ]{0,30}\bplna\b|\bpostvak\b[a-z ]{0,20}\bvol\b|空间不足|容量不足|邮箱已满|郵箱已滿|信箱已滿|超过配额|配额已满|容量超過|ящик (?:переполнен|заполнен)|квот\S{0,3} (?:превышен|исчерпан)/,
    HOSTERS,
    [
      '550 Benutzer hat das Speichervolumen ueberschritten. / User has exhausted allowed storage space.',
      '450 El buzon del destinatario esta lleno',
      '550 Przekroczona pojemnosc skrzynki odbiorcy',
      '552 收件人空间不足',
    ],
  ),
  general(
    'quota-other-languages',
    'quota-sender',
    /\blimite (?:\w{1,8} ){0,2}(?:envio|envios|invio|envoi) (?:\w{1,8} )?(?:diari[oa]|orario|giornaliero|por hora|horario|journalier|quotidien|mensual|mensile|mensal)|\blimite (?:orario|diario|giornaliero|horaire|quotidienne?|horario|mensual) d[ei'](?: |\b)|\b(?:versand|stunden|tages)-?(?:limit|kontingent)\b|\b(?:dzienny|godzinowy|dobowy|miesieczny) limit|\blimit (?:\w{1,12} ){0,2}(?:dzienny|godzinowy|dobowy)/,
    HOSTERS,
    [
      '550 5.7.1 Ha superado el limite de envio diario de su cuenta',
      '421 4.7.0 Superato il limite di invio orario, riprovare piu tardi',
    ],
  ),
  general(
    'sessions-other-languages',
    'concurrency',
    /\b(?:te veel|prilis mnoho|for mange) (?:\w{1,14} )?(?:verbindingen|spojeni|sessies|forbindelser)|连接数(?:过多|超)|并发|слишком много (?:одновременных )?(?:соединений|подключений)/,
    HOSTERS,
    '421 4.7.0 mx.example.org Te veel verbindingen, probeer het later opnieuw',
  ),
  general(
    'volume-other-languages',
    'rate-limit',
    /\b(?:te veel|prilis mnoho|for mange) (?:\w{1,14} )?(?:berichten|e-?mails|zprav|beskeder|meddelelser)|\blimit zprav\b|\blimite de (?:mensajes|messages|mensagens)|发送频率|发信频率|过于频繁|превышен\S{0,2} (?:\S{1,14} ){0,2}(?:лимит|количество)/,
    HOSTERS,
    '451 4.7.1 Limit zprav prekrocen, zkuste to pozdeji.',
  ),
  general(
    'spam-other-languages',
    'content',
    /\bnevyzadan|\bindesirable|\bongewenst|\bno solicitad[oa]|\bnao solicitad[oa]|\bnon richiest[ao]|\bniechcian|\bnie chcian|垃圾邮件|垃圾郵件|\bspamverdacht|(?:^|[ "(])спам/,
    HOSTERS,
    '554 5.7.1 Message refused: Nevyzadana posta',
  ),
  general(
    'away-other-languages',
    'server-busy',
    /\b(?:blad|awaria) (?:serwera|systemu)|\btymczasow\w{1,2} (?:blad|niedostepn\w{1,2}|problem)|\bchwilowy (?:blad|problem)|\buberlastet\b|\bueberlastet\b|\bnicht (?:verfugbar|verfuegbar|erreichbar)\b|\bno disponible\b|\bindisponivel\b|\bsobrecargado\b|\bsobrecarregado\b|\bindisponible\b|\bsurcharge\b|\bnon disponibile\b|\bsovraccarico\b|系统(?:繁忙|忙)|服务器(?:繁忙|忙)|系統忙|сервер (?:\S{1,14} )?(?:перегружен|недоступен|занят)|временн\S{1,4} (?:недоступ|ошибк|проблем)/,
    HOSTERS,
    ['450 Sorry, chwilowy blad serwera, sprobuj ponownie pozniej', '421 系统繁忙'],
    { code: '4xx' },
  ),
]

export const unknownOtherLanguages = [
  general(
    'unknown-other-languages',
    'recipient-unknown',
    /\b(?:benutzer|empfanger|empfaenger|postfach|mailadresse|emailadresse)\b[a-z ]{0,40}\b(?:unbekannt|existiert nicht|nicht (?:gefunden|vorhanden|bekannt))|\b(?:usuario|destinatario|cuenta|buzon|direccion)\b[a-z ]{0,40}\b(?:no (?:encontrad[oa]|existe|valid[oa])|desconocid[oa]|inexistente)|\b(?:usuario|destinatario|conta|endereco)\b[a-z -]{0,40}\b(?:nao (?:encontrad[oa]|existe)|desconhecid[oa]|invalid[oa])|\b(?:utente|destinatario|casella|indirizzo)\b[a-z ]{0,40}\b(?:sconosciut[oa]|inesistente|non (?:esiste|trovat[oa]|valid[oa]))|\b(?:utilisateur|destinataire|compte|adresse)\b[a-z -]{0,40}\b(?:inconnue?|introuvable|inexistante?|n'existe pas)|\b(?:uzytkownik|odbiorca|konto|skrzynka|adres)\b[a-z ]{0,40}\b(?:nie istnieje|nieznany|nie znaleziono)|\bnie ma takiego\b|\bonbekende (?:gebruiker|ontvanger)|\bgebruiker (?:\w{1,10} )?(?:onbekend|bestaat niet)|\bokand (?:anvandare|mottagare)|\bukendt (?:bruger|modtager)|\bneexistuj|\bneznamy uzivatel|\bkullanici bulunamadi|用户不存在|收件人不存在|无此用户|無此用戶|账号不存在|пользовател\S{1,3} (?:не найден|не существует|неизвестен)|нет такого (?:пользователя|адреса|ящика)|получател\S{1,3} не (?:найден|существует)/,
    HOSTERS,
    ['550 Usuario no encontrado', '550 5.1.1 Nie ma takiego konta', '550 5.1.1 Onbekende gebruiker'],
  ),
]
