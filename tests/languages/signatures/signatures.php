<?php
// Verifies signatures by the library of Standard Webhooks for PHP, whose folder is the argument. See signatures.py.
require "$argv[1]/init.php";
require "$argv[1]/src/Exception/WebhookSigningException.php";

use StandardWebhooks\Exception\WebhookSigningException;
use StandardWebhooks\Exception\WebhookVerificationException;
use StandardWebhooks\Webhook;

while (($line = fgets(STDIN)) !== false) {
    [$secret, $id, $timestamp, $signature, $body] = explode("\t", rtrim($line, "\n"));
    $given = ['webhook-id' => $id, 'webhook-timestamp' => $timestamp, 'webhook-signature' => $signature];
    try {
        (new Webhook($secret))->verify(base64_decode($body), array_filter($given, fn($value) => $value !== ''));
        echo "accepted\n";
    } catch (WebhookVerificationException | WebhookSigningException) {
        echo "refused\n";
    }
}
