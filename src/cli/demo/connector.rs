//! The demo's worker: what a connector to an ERP would check, and how it would complain.

use bytes::Bytes;
use serde_json::Value;

use crate::model::WorkError;

/// Sums are compared to the cent.
const HALF_A_CENT: f64 = 0.005;

/// Does one message; orders and e-mail always go through.
pub(super) fn work(queue: &str, payload: &[u8]) -> Result<Bytes, WorkError> {
    let text = String::from_utf8_lossy(payload);
    let body: Value = serde_json::from_slice(payload)
        .map_err(|error| refusal("not-json", format!("the payload is not JSON: {error}"), &text))?;
    if queue == "invoices" {
        check_invoice(&body).map_err(|(code, message)| refusal(code, message, &text))?;
    }
    Ok(Bytes::from_static(br#"{"booked":true}"#))
}

fn check_invoice(invoice: &Value) -> Result<(), (&'static str, String)> {
    let (net, vat) = (amount(invoice, "net")?, amount(invoice, "vat")?);
    let total = amount(invoice, "total")?;
    if (net + vat - total).abs() > HALF_A_CENT {
        let sum = net + vat;
        return Err(("sum", format!("net {net:.2} + vat {vat:.2} is {sum:.2}, not {total:.2}")));
    }
    let currency = invoice["currency"].as_str().unwrap_or_default();
    if currency.len() != 3 {
        let message =
            format!("currency is {currency:?}; a code of three letters is needed, e.g. EUR");
        return Err(("currency", message));
    }
    Ok(())
}

fn amount(invoice: &Value, field: &str) -> Result<f64, (&'static str, String)> {
    let value = &invoice[field];
    value
        .as_f64()
        .ok_or_else(|| ("amount", format!("{field} is {value}; a number is needed, e.g. 524.95")))
}

fn refusal(code: &str, message: String, payload: &str) -> WorkError {
    let detail = format!(
        "POST https://erp.example/api/invoices\n  {payload}\n422 Unprocessable Content\n  \
         {{\"error\": {code:?}, \"detail\": {message:?}}}"
    );
    WorkError { code: code.to_owned(), message, detail }
}

#[cfg(test)]
mod tests {
    use super::super::samples::order;
    use super::*;

    #[test]
    fn one_invoice_in_forty_is_refused_and_says_why() {
        let refused: Vec<(u64, String)> = (0..120)
            .flat_map(|n| order(n).map(|sample| (n, sample)))
            .filter_map(|(n, s)| work(s.queue, s.payload.as_bytes()).err().map(|e| (n, e.message)))
            .collect();
        let expected = [
            (3, "total is \"524,95\"; a number is needed, e.g. 524.95"),
            (43, "net 1250.00 + vat 250.00 is 1500.00, not 1050.00"),
            (83, "currency is \"EURO\"; a code of three letters is needed, e.g. EUR"),
        ];
        assert_eq!(refused, expected.map(|(n, text)| (n, text.to_owned())));
    }

    #[test]
    fn a_repaired_invoice_goes_through() {
        let [_, bad, _] = order(3);
        let fixed = bad.payload.replace("\"524,95\"", "524.95");
        assert!(work("invoices", bad.payload.as_bytes()).is_err());
        assert!(work("invoices", fixed.as_bytes()).is_ok());
    }
}
